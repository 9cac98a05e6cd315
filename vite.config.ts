/** How the dashboard is built: from its folder into `dist/dashboard`, with nothing but what is installed. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig, type Plugin } from 'vite';

const ROOT = import.meta.dirname;

/** What is packed into the page besides our own, each with a licence that wants to be told. */
const PACKED = [
  'react',
  'react-dom',
  'scheduler',
  '@fontsource-variable/geist',
  '@fontsource-variable/geist-mono',
];

function licences(): Plugin {
  return {
    name: 'licences',
    generateBundle() {
      const texts = PACKED.map((name) => {
        const folder = join(ROOT, 'node_modules', name);
        return `${name}\n\n${readFileSync(join(folder, 'LICENSE'), 'utf8').trim()}\n`;
      });
      this.emitFile({
        type: 'asset',
        fileName: 'third-party.txt',
        source: texts.join(`\n${'-'.repeat(72)}\n\n`),
      });
    },
  };
}

export default defineConfig({
  root: join(ROOT, 'dashboard'),
  // Relative: the page is told where it is by the api, see `api/http/dashboard.ts`.
  base: './',
  plugins: [licences()],
  build: {
    outDir: join(ROOT, 'dist/dashboard'),
    emptyOutDir: true,
    target: 'es2022',
    // Its Content-Security-Policy allows no data: addresses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
});
