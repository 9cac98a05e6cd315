import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { InstanceConfig } from '../../guestagent/driver.ts';
import { formatLsn, isLsn, parseLsn, readControl } from '../../guestagent/drivers/postgresql/control.ts';
import { buildAnew, withWayOut } from '../../guestagent/drivers/postgresql/not-streaming.ts';
import { applicationName } from '../../guestagent/drivers/postgresql/replication.ts';
import { derivePassword, placesIn, writeSettings } from '../../guestagent/drivers/postgresql/settings.ts';
import { loadState, saveState } from '../../guestagent/drivers/postgresql/state.ts';
import { extractTar } from '../../guestagent/drivers/postgresql/tar.ts';
import { isScramVerifier, scramVerifier } from '../../src/scram.ts';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'coffer-unit-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const CONFIG: InstanceConfig = {
  ...{ instance_id: 'i', cluster_id: 'c', name: "o'brien \\ 1", ordinal: 0, manager: 'postgresql' },
  ...{
    datastore_version: '17.6',
    role: 'primary',
    endpoint: { host: '127.0.0.1', port: 5432 },
    primary: null,
  },
  ...{ cluster_token: 'token', extended_properties: {}, databases: [], users: [] },
};

describe('log positions', () => {
  it('are written as PostgreSQL reads them', () => {
    expect(formatLsn(0x1_0000_00a0n)).toBe('1/000000A0');
    expect(formatLsn(24254600n)).toBe('0/01721888');
    expect(parseLsn('1/A0')).toBe(0x1_0000_00a0n);
    expect(isLsn('1/000000A0')).toBe(true);
    for (const wrong of ['', '1', '1/', 'x/1', "1/1'; --", '1/123456789']) expect(isLsn(wrong)).toBe(false);
  });
});

describe('pg_control', () => {
  /** As PostgreSQL lays it out: layout, state, checkpoint, and a checksum over what is before it. */
  async function control(version: number, state: number, damage = false): Promise<void> {
    const file = Buffer.alloc(8192);
    file.writeUInt32LE(version, 8);
    file.writeUInt32LE(state, 16);
    file.writeBigUInt64LE(0x1721888n, 32);
    for (const [index, value] of [200, 9, 11, 3, 65].entries()) file.writeInt32LE(value, 180 + 4 * index);
    file.writeUInt32LE(crc32c(file.subarray(0, 288)), 288);
    if (damage) file.writeUInt32LE(6, 16);
    await mkdir(join(folder, 'global'), { recursive: true });
    await writeFile(join(folder, 'global', 'pg_control'), file);
  }

  it('tells a clean shutdown, the last position and what a standby needs, in all known layouts', async () => {
    for (const version of [1300, 1700]) {
      await control(version, 1);
      const demands = {
        ...{ max_connections: 200, max_worker_processes: 9, max_wal_senders: 11 },
        ...{ max_prepared_transactions: 3, max_locks_per_transaction: 65 },
      };
      expect(await readControl(folder)).toEqual({ shutDown: true, checkpoint: 0x1721888n, demands });
      await control(version, 6);
      expect(await readControl(folder)).toMatchObject({ shutDown: false });
    }
  });

  it('is not believed when its checksum is wrong, or its layout unknown', async () => {
    await control(1700, 1, true);
    expect(await readControl(folder)).toBeNull();
    await control(1800, 1);
    await expect(readControl(folder)).rejects.toThrow('unknown layout');
  });
});

describe('tar', () => {
  it('unpacks folders, files and long names, whatever the size of the chunks', async () => {
    const long = `${'deep/'.repeat(30)}file`;
    const archive = tar([
      { name: 'a/', type: '5' },
      { name: 'a/small', body: 'hello' },
      { name: 'a/empty', body: '' },
      { name: 'a/block', body: 'x'.repeat(512) },
      { name: 'left/out', body: 'gone' },
      { name: 'pax', type: 'x', body: pax('path', long) },
      { name: 'short', body: 'long name' },
    ]);
    for (const size of [1, 100, 512, 1_000_000]) {
      const target = join(folder, String(size));
      const place = (name: string) => (name.startsWith('left/') ? null : name);
      await extractTar(chunks(archive, size), target, {
        place,
        mode: (_, kind) => (kind === 'file' ? 0o640 : 0o750),
      });
      expect(await readFile(join(target, 'a/small'), 'utf8')).toBe('hello');
      expect(await readFile(join(target, 'a/empty'), 'utf8')).toBe('');
      expect(await readFile(join(target, 'a/block'), 'utf8')).toBe('x'.repeat(512));
      expect(await readFile(join(target, long), 'utf8')).toBe('long name');
      expect((await readdir(target)).sort()).toEqual(['a', 'deep']);
      expect((await stat(join(target, 'a/small'))).mode & 0o777).toBe(0o640);
      expect((await stat(join(target, 'a'))).mode & 0o777).toBe(0o750);
    }
  });

  it('refuses what leaves its folder, links, damage, and an early end', async () => {
    const refused = (archive: Buffer) => expect(extractTar(chunks(archive, 700), join(folder, 't'))).rejects;
    await refused(tar([{ name: '../out', body: 'x' }])).toThrow('leaves its folder');
    await refused(tar([{ name: '/etc/out', body: 'x' }])).toThrow('leaves its folder');
    for (const type of ['1', '2', '3', '6', 'Z']) {
      await refused(tar([{ name: 'odd', type }])).toThrow('neither a file nor a folder');
    }
    const whole = tar([{ name: 'a', body: 'x'.repeat(2000) }]);
    await refused(whole.subarray(0, 1000)).toThrow('ends too early');
    await refused(whole.subarray(0, 2560)).toThrow('ends too early');
    await refused(Buffer.alloc(0)).toThrow('ends too early');
    const damaged = Buffer.from(whole);
    damaged.write('b', 0);
    await refused(damaged).toThrow('wrong checksum');
  });
});

describe('passwords', () => {
  it('differ by user, cluster and token, and are the same for all agents of a cluster', () => {
    const of = (change: Partial<InstanceConfig>, user = 'coffer') =>
      derivePassword({ ...CONFIG, ...change }, user);
    expect(of({ instance_id: 'other', name: 'other' })).toBe(of({}));
    expect(
      new Set([of({}), of({ cluster_id: 'd' }), of({ cluster_token: 'u' }), of({}, 'coffer_replication')])
        .size,
    ).toBe(4);
  });

  it('are handed over as verifiers that SCRAM-SHA-256 fits', async () => {
    const verifier = await scramVerifier('pencil');
    expect(isScramVerifier(verifier)).toBe(true);
    const [, iterations, salt, stored] = /^SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):/.exec(verifier) ?? [];
    const salted = pbkdf2Sync('pencil', Buffer.from(salt ?? '', 'base64'), Number(iterations), 32, 'sha256');
    const clientKey = createHmac('sha256', salted).update('Client Key').digest();
    expect(createHash('sha256').update(clientKey).digest('base64')).toBe(stored);
    expect(isScramVerifier('pencil')).toBe(false);
    expect(isScramVerifier("SCRAM-SHA-256$4096:a$b:c'; DROP TABLE x; --")).toBe(false);
  });
});

describe('settings', () => {
  it('quote what comes from outside, and hold no password', async () => {
    await writeSettings(CONFIG, placesIn(folder), null, { host: '10.0.0.1', port: 5433 });
    const text = await readFile(join(folder, 'conf', 'postgresql.conf'), 'utf8');
    expect(text).toContain(String.raw`cluster_name = 'o''brien \\ 1'`);
    expect(text).toContain(String.raw`application_name=''o\\''brien \\\\ 1''`);
    expect(text).not.toContain(derivePassword(CONFIG, 'coffer_replication'));
    expect((await stat(join(folder, 'conf', 'passfile'))).mode & 0o777).toBe(0o600);
    const odd = { ...CONFIG, name: "x'\nfsync = off" };
    await expect(writeSettings(odd, placesIn(folder), null, null)).rejects.toThrow('line break');
  });
});

describe('a standby', () => {
  it('is known to its primary by its name as PostgreSQL shows it', () => {
    expect(applicationName("it's node 1")).toBe("it's node 1");
    expect(applicationName('größe')).toBe(String.raw`gr\xc3\xb6\xc3\x9fe`);
    expect(applicationName('x'.repeat(70))).toBe('x'.repeat(63));
  });

  it('that has parted from its primary is to be built anew, and no other', () => {
    const parted = [
      'could not receive data from WAL stream: ERROR:  requested WAL segment 00000001000000000000000A has already been removed',
      "could not start WAL streaming: ERROR:  requested starting point 0/5000000 on timeline 1 is not in this server's history",
      'new timeline 2 forked off current database system timeline 1 before current recovery point 0/50000A0',
      'database system identifier differs between the primary and standby',
    ];
    for (const words of parted) {
      expect(withWayOut(words, { rebuildAdvice: buildAnew(CONFIG) })).toContain(
        String.raw`coffer cluster-shrink c 'o'\''brien \ 1'`,
      );
    }
    const words = 'could not connect to the primary server: Connection refused';
    expect(withWayOut(words, { rebuildAdvice: buildAnew(CONFIG) })).toBe(words);
  });
});

describe('the state file', () => {
  it('is read back as written, is absent at first, and is refused when it makes no sense', async () => {
    expect(await loadState(folder)).toBeNull();
    const state = { phase: 'demoted', version: '17.6', lsn: '0/01721888' } as const;
    await saveState(folder, state);
    expect(await loadState(folder)).toEqual(state);
    expect(await readdir(folder)).toEqual(['state.json']);
    await writeFile(join(folder, 'state.json'), '{"phase":"demoted"}');
    await expect(loadState(folder)).rejects.toThrow("can't be understood");
  });
});

interface Entry {
  readonly name: string;
  readonly type?: string;
  readonly body?: string;
}

function tar(entries: readonly Entry[]): Buffer {
  const parts = entries.map(({ name, type = '0', body = '' }) => {
    const header = Buffer.alloc(512);
    header.write(name, 0);
    header.write('0000644\0', 100);
    header.write(`${Buffer.byteLength(body).toString(8).padStart(11, '0')}\0`, 124);
    header.write('        ', 148);
    header.write(type, 156);
    if (type === '1' || type === '2') header.write('elsewhere', 157);
    header.write('ustar\0', 257);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    const content = Buffer.alloc(Math.ceil(Buffer.byteLength(body) / 512) * 512);
    content.write(body);
    return Buffer.concat([header, content]);
  });
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

function pax(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length;
  while (String(length).length + rest.length !== length) length++;
  return `${length}${rest}`;
}

async function* chunks(archive: Buffer, size: number): AsyncGenerator<Buffer, void> {
  for (let at = 0; at < archive.length; at += size) yield archive.subarray(at, at + size);
}

/** Bit by bit, unlike the one under test. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}
