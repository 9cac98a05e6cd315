import { PassThrough } from 'node:stream';
import { Client, type Connection, type Submittable } from 'pg';
import { PermanentError } from '../../driver.ts';
import type { Account } from '../account.ts';
import { verifyCopy } from './manifest.ts';
import { clientConfig, disconnect, type Login, one } from './sql.ts';
import { extractTar } from './tar.ts';

/**
 * Copies a running server's data directory over the network, as `pg_basebackup` does (the packages do not
 * contain it): the replication command BASE_BACKUP answers with a tar stream, in COPY mode. The server itself
 * leaves out what must not be copied, and adds `backup_label` and the log that the copy needs to be
 * consistent. At the end it sends a manifest, with which the files on this disk are checked.
 *
 * When this resolves, the copy is complete, checked and on disk; after a rejection it is worthless.
 */
export async function copyFrom(
  login: Login,
  dataDir: string,
  account: Account | null,
  abort: AbortSignal,
): Promise<void> {
  const config = { ...clientConfig(login, { connectMs: 5_000, statementMs: null }), replication: 'true' };
  const client = new Client(config);
  client.on('error', () => {});
  const backup = new BaseBackup();
  const onAbort = () => backup.fail(new Error('the copy was interrupted'));
  abort.addEventListener('abort', onAbort);
  try {
    await client.connect();
    abort.throwIfAborted();
    const { wal_segment_size } = await one<{ wal_segment_size: string }>(client, 'SHOW wal_segment_size');
    const extraction = extractTar(backup.tar, dataDir, {
      owner: account,
      mode: (_, kind) => (kind === 'folder' ? 0o700 : 0o600),
    }).catch((error: unknown) => {
      backup.tar.destroy();
      throw error;
    });
    client.query(backup);
    const [sent, extracted] = await Promise.allSettled([backup.done, extraction]);
    if (sent.status === 'rejected') throw sent.reason;
    if (extracted.status === 'rejected') throw extracted.reason;
    await verifyCopy(dataDir, backup.manifest(), { segmentBytes: bytesOf(wal_segment_size), abort });
  } finally {
    abort.removeEventListener('abort', onAbort);
    disconnect(client);
  }
}

const COMMAND =
  "BASE_BACKUP (LABEL 'coffer', CHECKPOINT 'fast', WAL, MANIFEST 'yes', MANIFEST_CHECKSUMS 'SHA256', TABLESPACE_MAP)";
const SILENCE_MS = 60_000;

/** One run of the command: implements pg's interface for custom queries, as pg-query-stream does. */
class BaseBackup implements Submittable {
  readonly tar = new PassThrough();
  /** The parts of the manifest; null until it begins. */
  #manifest: Buffer[] | null = null;
  readonly done: Promise<void>;
  #resolve: () => void = () => {};
  #reject: (error: Error) => void = () => {};
  #connection: Connection | null = null;
  #silence: NodeJS.Timeout | undefined;
  #failure: Error | null = null;

  constructor() {
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.done.catch(() => {});
    // Unread data must not block the connection once the extraction has failed.
    this.tar.on('error', () => {});
    this.tar.on('drain', () => this.#connection?.stream.resume());
    this.tar.on('close', () => this.#connection?.stream.resume());
  }

  submit(connection: Connection): void {
    this.#connection = connection;
    this.#heard();
    connection.query(COMMAND);
  }

  handleRowDescription(): void {}

  /** The second result lists the tablespaces; the one inside the data directory has no id. */
  handleDataRow(message: { readonly fields: readonly (string | null)[] }): void {
    this.#heard();
    const [id, location] = message.fields;
    if (message.fields.length === 3 && id !== null) {
      this.fail(
        new PermanentError(`the primary has a tablespace outside of its data directory: ${location ?? id}`),
      );
    }
  }

  handleCopyData(message: { readonly chunk: Buffer }): void {
    this.#heard();
    const { chunk } = message;
    // 'm' announces the manifest, 'd' carries data; the other types announce an archive or report the
    // progress.
    if (chunk[0] === 0x6d) this.#manifest = [];
    if (chunk[0] !== 0x64 || this.tar.destroyed) return;
    // A copy: pg reuses the memory behind the message.
    const data = Buffer.from(chunk.subarray(1));
    if (this.#manifest !== null) this.#manifest.push(data);
    else if (!this.tar.write(data)) this.#connection?.stream.pause();
  }

  /** Empty if the server sent no manifest. */
  manifest(): Buffer {
    return Buffer.concat(this.#manifest ?? []);
  }

  handleCommandComplete(): void {}
  handleEmptyQuery(): void {}

  handleError(error: Error): void {
    this.fail(error);
  }

  handleReadyForQuery(): void {
    clearTimeout(this.#silence);
    this.tar.end();
    if (this.#failure === null) this.#resolve();
  }

  #heard(): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      this.fail(new Error('the primary sent nothing for a minute while it was copied'));
    }, SILENCE_MS);
  }

  fail(error: Error): void {
    clearTimeout(this.#silence);
    if (this.#failure !== null) return;
    this.#failure = error;
    this.tar.destroy(error);
    this.#connection?.stream.destroy();
    this.#reject(error);
  }
}

/** A size in the form in which `SHOW` returns it, e.g. `4MB`. */
function bytesOf(setting: string): number {
  const [, number, unit] = /^(\d+)(kB|MB|GB)?$/.exec(setting) ?? [];
  const factor = { kB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 }[unit ?? ''] ?? 1;
  if (number === undefined) throw new Error(`the primary answers an odd wal_segment_size: ${setting}`);
  return Number(number) * factor;
}
