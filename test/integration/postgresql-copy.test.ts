import { execFileSync } from 'node:child_process';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { serverAccount } from '../../guestagent/drivers/account.ts';
import { copyFrom } from '../../guestagent/drivers/postgresql/basebackup.ts';
import { replicationLogin } from '../../guestagent/drivers/postgresql/sql.ts';
import { extractTar } from '../../guestagent/drivers/postgresql/tar.ts';
import type { Endpoint } from '../../src/core/domain.ts';
import { at, cluster, type Node, query, rootFolder, useNodes } from './postgresql-nodes.ts';

/** What may happen to the first copy of a primary: a disk that fills up, bytes that change on their way. */
useNodes();
/** A busy machine takes its time to build three servers. */
const PATIENCE_MS = 240_000;

const mounted = new Set<string>();
afterAll(() => {
  for (const folder of mounted) execFileSync('umount', [folder]);
});

const mayMount = canMount();
const reason = mayMount
  ? ''
  : ' (skipped: only a superuser who may mount a tmpfs can have a disk that is full)';

describe('a disk that fills up', { timeout: PATIENCE_MS }, () => {
  it.skipIf(!mayMount)(`is never taken for a file that is complete${reason}`, async () => {
    // A server of the kernel takes a part of what it is given, says so, and fails only the next time.
    const folder = await smallDisk('unpack', '1m');
    const archive = tarOf('table', Buffer.alloc(2 * 1024 * 1024, 'x'));
    await expect(extractTar(inOne(archive), folder)).rejects.toThrow('ENOSPC');
    const fits = tarOf('table', Buffer.alloc(512 * 1024, 'x'));
    await extractTar(inOne(fits), folder);
    expect((await stat(join(folder, 'table'))).size).toBe(512 * 1024);
  });

  it.skipIf(!mayMount)(`ends the copy of a primary, and a larger one takes it${reason}`, async () => {
    const primary = at(await cluster(0), 0);
    const small = await smallDisk('replica', '12m');
    await expect(copyOf(primary, small)).rejects.toThrow('ENOSPC');
    const large = await smallDisk('large', '200m');
    await copyOf(primary, large);
    expect(await readFile(join(large, 'PG_VERSION'), 'utf8')).toBe('17\n');
  });
});

describe('a copy', { timeout: PATIENCE_MS }, () => {
  it('whose bytes change on their way is refused', async () => {
    const primary = at(await cluster(0), 0);
    await query(primary, "CREATE TABLE t AS SELECT repeat('original', 50) FROM generate_series(1, 5000)");
    const [proxy, server] = await changingProxy(primary.config.endpoint, 'original', 'Original');
    try {
      const changed = copyOf(primary, join(rootFolder(), 'changed'), proxy);
      await expect(changed).rejects.toThrow(/the copy is not complete: base\/\d+\/\d+ has a wrong checksum/);
    } finally {
      server.close();
    }
    await copyOf(primary, join(rootFolder(), 'whole'));
  });
});

async function copyOf({ config }: Node, folder: string, endpoint: Endpoint = config.endpoint): Promise<void> {
  const login = replicationLogin(config, endpoint);
  await copyFrom(login, folder, serverAccount(), new AbortController().signal);
}

function canMount(): boolean {
  try {
    const probe = execFileSync('mktemp', ['-d'], { encoding: 'utf8' }).trim();
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', probe], { stdio: 'ignore' });
    execFileSync('umount', [probe]);
    execFileSync('rmdir', [probe]);
    return true;
  } catch {
    return false;
  }
}

async function smallDisk(name: string, size: string): Promise<string> {
  const folder = join(rootFolder(), name);
  await mkdir(folder);
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=755`, 'tmpfs', folder]);
  mounted.add(folder);
  return folder;
}

/** Hands bytes on in both directions, and changes a text in what the server says. */
async function changingProxy(to: Endpoint, from: string, into: string) {
  const server = createServer((client) => {
    const upstream = connect(to.port, to.host);
    const end = (one: Socket, other: Socket) => {
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    };
    end(client, upstream);
    end(upstream, client);
    client.pipe(upstream);
    upstream.on('data', (chunk: Buffer) => {
      client.write(chunk.toString('latin1').replaceAll(from, into), 'latin1');
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const endpoint: Endpoint = { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
  return [endpoint, server] as const;
}

function tarOf(name: string, body: Buffer): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write('0000644\0', 100);
  header.write(`${body.length.toString(8).padStart(11, '0')}\0`, 124);
  header.write('        ', 148);
  header.write('0', 156);
  header.write('ustar\0', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([header, body, Buffer.alloc(1024)]);
}

async function* inOne(archive: Buffer): AsyncGenerator<Buffer, void> {
  yield archive;
}
