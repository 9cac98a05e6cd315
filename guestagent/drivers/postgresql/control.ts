import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Reads `global/pg_control`, which records how a server stopped and where its log ends. The packages do not
 * contain `pg_controldata`. The fields read here are at the same offsets in every layout known below.
 */
export interface Control {
  /** True if the server was shut down cleanly as a primary: nothing can be written to it any more. */
  readonly shutDown: boolean;
  /** Position of the last checkpoint record: after a clean shutdown, this is the last record. */
  readonly checkpoint: bigint;
  /** The minimum settings with which a standby on this data must be started. */
  readonly demands: Demands;
}

/** Settings that must be at least as large on a standby as on its primary; otherwise its replay stops. */
export const DEMANDED = [
  'max_connections',
  'max_worker_processes',
  'max_wal_senders',
  'max_prepared_transactions',
  'max_locks_per_transaction',
] as const;
export type Demands = Readonly<Record<(typeof DEMANDED)[number], number>>;

const OFFSET = {
  version: 8,
  state: 16,
  checkpoint: 32,
  max_connections: 180,
  max_worker_processes: 184,
  max_wal_senders: 188,
  max_prepared_transactions: 192,
  max_locks_per_transaction: 196,
  crc: 288,
} as const;
/** `pg_control_version`: 1300 is PostgreSQL 13 to 16, 1700 is 17. */
const CONTROL_VERSIONS = [1300, 1700];
const DB_SHUTDOWNED = 1;

/** The number that all servers of one cluster share. */
export async function identifierIn(dataDir: string): Promise<string> {
  const file = await readFile(join(dataDir, 'global', 'pg_control'));
  return file.readBigUInt64LE(0).toString();
}

/** The major release of the data. */
export function majorIn(dataDir: string): string {
  return readFileSync(join(dataDir, 'PG_VERSION'), 'utf8').trim();
}

/** Null while the file is being rewritten: its checksum does not match then. */
export async function readControl(dataDir: string): Promise<Control | null> {
  const file = await readFile(join(dataDir, 'global', 'pg_control'));
  if (file.length < OFFSET.crc + 4) return null;
  const version = file.readUInt32LE(OFFSET.version);
  if (!CONTROL_VERSIONS.includes(version))
    throw new Error(`pg_control has an unknown layout, version ${version}`);
  if (crc32c(file.subarray(0, OFFSET.crc)) !== file.readUInt32LE(OFFSET.crc)) return null;
  return {
    shutDown: file.readUInt32LE(OFFSET.state) === DB_SHUTDOWNED,
    checkpoint: file.readBigUInt64LE(OFFSET.checkpoint),
    demands: demandsOf((name) => file.readInt32LE(OFFSET[name])),
  };
}

export function demandsOf(value: (name: keyof Demands) => number): Demands {
  return Object.fromEntries(DEMANDED.map((name) => [name, value(name)])) as Demands;
}

/** A log position in PostgreSQL's notation: `X/XXXXXXXX`. */
export function formatLsn(lsn: bigint): string {
  return `${(lsn >> 32n).toString(16)}/${(lsn & 0xffffffffn).toString(16).padStart(8, '0')}`.toUpperCase();
}

export function parseLsn(text: string): bigint {
  const [high = '', low = ''] = text.split('/');
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`);
}

export function isLsn(text: string): boolean {
  return /^[0-9A-Fa-f]{1,8}\/[0-9A-Fa-f]{1,8}$/.test(text);
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let crc = index;
  for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (CRC_TABLE[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
