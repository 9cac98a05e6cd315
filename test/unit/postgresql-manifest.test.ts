import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, truncate, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { verifyCopy } from '../../guestagent/drivers/postgresql/manifest.ts';

const SEGMENT = 1024;
const FILES: Readonly<Record<string, string>> = {
  PG_VERSION: '17\n',
  'base/1/2600': 'a table'.repeat(100),
  'base/1/2601': '',
  'global/pg_control': 'control',
};
const SEGMENTS = ['0000000100000002003FFFFF', '000000010000000300000000'];

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'coffer-unit-'));
  for (const [name, content] of Object.entries(FILES)) await put(name, content);
  for (const name of SEGMENTS) await put(`pg_wal/${name}`, 'w'.repeat(SEGMENT));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('the manifest of a copy', () => {
  it('accepts a copy that has all of it, and the log that it needs', async () => {
    await expect(check(manifest())).resolves.toBeUndefined();
    await put('pg_wal/archive_status/note', 'the log is not listed');
    await expect(check(manifest())).resolves.toBeUndefined();
  });

  it('refuses a file that is missing, cut short, changed, or not listed', async () => {
    await truncate(join(folder, 'base/1/2600'), 699);
    await expect(check(manifest())).rejects.toThrow('base/1/2600 has 699 bytes instead of 700');
    await put('base/1/2600', 'A table'.repeat(100));
    await expect(check(manifest())).rejects.toThrow('base/1/2600 has a wrong checksum');
    await unlink(join(folder, 'base/1/2600'));
    await expect(check(manifest())).rejects.toThrow('base/1/2600 is missing');
    await put('base/1/2600', FILES['base/1/2600'] ?? '');
    await put('base/1/left', '');
    await expect(check(manifest())).rejects.toThrow('base/1/left is not in its manifest');
  });

  it('refuses log that is missing or cut short', async () => {
    await truncate(join(folder, 'pg_wal', SEGMENTS[1] ?? ''), 1000);
    await expect(check(manifest())).rejects.toThrow(`${SEGMENTS[1]} has 1000 bytes instead of 1024`);
    await unlink(join(folder, 'pg_wal', SEGMENTS[0] ?? ''));
    await expect(check(manifest())).rejects.toThrow(`the log segment ${SEGMENTS[0]} is missing`);
  });

  it('is refused itself when it is absent, cut short, changed, or without checksums', async () => {
    const whole = manifest();
    await expect(check(Buffer.alloc(0))).rejects.toThrow('sent no manifest');
    await expect(check(whole.subarray(0, 200))).rejects.toThrow("can't be understood");
    const changed = Buffer.from(whole.toString().replace('"Size": 3,', '"Size": 4,'));
    await expect(check(changed)).rejects.toThrow('its manifest has a wrong checksum');
    const without = Buffer.from(whole.toString().replaceAll('SHA256', 'CRC32C'));
    await expect(check(without)).rejects.toThrow("can't be understood");
  });
});

function check(sent: Buffer): Promise<void> {
  return verifyCopy(folder, sent, { segmentBytes: SEGMENT, abort: new AbortController().signal });
}

async function put(name: string, content: string): Promise<void> {
  await mkdir(dirname(join(folder, name)), { recursive: true });
  await writeFile(join(folder, name), content);
}

/** As PostgreSQL writes it; one name is given as it gives a name that is not UTF-8. */
function manifest(): Buffer {
  const files = Object.entries(FILES).map(([name, content]) => {
    const path =
      name === 'PG_VERSION' ? `"Encoded-Path": "${Buffer.from(name).toString('hex')}"` : `"Path": "${name}"`;
    const checksum = createHash('sha256').update(content).digest('hex');
    return `{ ${path}, "Size": ${content.length}, "Last-Modified": "2026-11-30 12:00:00 GMT", "Checksum-Algorithm": "SHA256", "Checksum": "${checksum}" }`;
  });
  // From within the last segment of one file of 4 GiB to the end of the first of the next.
  const lines = [
    '{ "PostgreSQL-Backup-Manifest-Version": 2,\n"System-Identifier": 7450000000000000000,\n"Files": [\n',
    `${files.join(',\n')}\n],\n`,
    '"WAL-Ranges": [\n{ "Timeline": 1, "Start-LSN": "2/FFFFFC28", "End-LSN": "3/00000400" }\n],\n',
  ].join('');
  const sum = createHash('sha256').update(lines).digest('hex');
  return Buffer.from(`${lines}"Manifest-Checksum": "${sum}"}\n`);
}
