import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Reads `global/pg_control`, which says how a server stopped and where its log ends. The packages
 * hold no `pg_controldata`. The fields read here lie at the same offsets in every layout known below.
 */
export interface Control {
  /** True when the server was shut down cleanly as a primary: nothing can be written to it any more. */
  readonly shutDown: boolean;
  /** Position of the last checkpoint record: after a clean shutdown, the last record there is. */
  readonly checkpoint: bigint;
}

const OFFSET = { version: 8, state: 16, checkpoint: 32, crc: 288 } as const;
/** `pg_control_version`: 1300 is PostgreSQL 13 to 16, 1700 is 17. */
const CONTROL_VERSIONS = [1300, 1700];
const DB_SHUTDOWNED = 1;

/** Null while the file is being rewritten: its checksum does not fit then. */
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
  };
}

/** A log position as PostgreSQL writes it: `X/XXXXXXXX`. */
export function formatLsn(lsn: bigint): string {
  return `${(lsn >> 32n).toString(16)}/${(lsn & 0xffffffffn).toString(16).padStart(8, '0')}`.toUpperCase();
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
