/** Which command starts the api: `npm start` is a script of the clone, and not in the published package. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

// The package's root, seen from `cli/` or from `dist/cli/`.
const FOLDERS = ['..', '../..'].map((way) => join(import.meta.dirname, way));

export const START_API = FOLDERS.some((folder) => existsSync(join(folder, 'scripts/start.mjs')))
  ? 'npm start'
  : 'npx coffer-api';
