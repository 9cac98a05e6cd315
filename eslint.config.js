// Biome formats and lints; ESLint adds only the rules that need types: an upgrade engine must not
// drop a promise, because a dropped rejection is a lost step.
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['dist/', '.coffer/', 'coverage/', 'scripts/', 'node_modules/', 'eslint.config.js'] },
  {
    files: ['**/*.ts', '**/*.tsx'],
    extends: [tseslint.configs.base],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/only-throw-error': 'error',
      '@typescript-eslint/prefer-promise-reject-errors': 'error',
    },
  },
);
