import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { AttemptId, AttemptReport } from '../src/core/domain.ts';
import { readIfThere } from '../src/files.ts';
import { writeFileAtomic } from './files.ts';

/** What a guest agent must not forget: it writes this to its own disk before it acts, and afterwards. */
export interface JournalEntry {
  readonly attempt: AttemptReport;
  /** What the order of the attempt said, so that a restarted agent can resume it. */
  readonly info: Readonly<Record<string, unknown>>;
  /**
   * Puts the upgrades of a cluster in sequence: nothing of an older upgrade is executed any more. An order
   * without a fence leaves the fence as it was.
   */
  readonly fence: number;
  /**
   * The request that the order belongs to: it is in every log line about the order, and in every report on
   * it.
   */
  readonly request_id: string;
  /** The span that the order belongs to; absent where nothing is traced. */
  readonly trace?: string;
  /** The order brought no fence: it came from a plain Trove taskmanager. */
  readonly plain?: true;
  /** In the entry of a plain order: the newest order before it that brought a fence. */
  readonly fenced?: AttemptId;
  /**
   * Ids of earlier orders, oldest first: an order without a fence that is delivered again is recognised by
   * its id.
   */
  readonly past?: readonly string[];
}

const JOURNAL = 'journal.jsonl';
/** More orders than a guest handles at the same time, and so more than RabbitMQ can deliver again. */
const MAX_PAST = 128;
/** A journal that would grow beyond this size is replaced by one with its last entry alone. */
const MAX_BYTES = 65_536;

/** Where a journal is stored. */
export interface JournalFile {
  /** The text that was written last; null if nothing was ever written. */
  read(): Promise<string | null>;
  /**
   * Resolves when the text survives a power failure. An earlier crash leaves the previous text or this one.
   */
  write(text: string): Promise<void>;
}

/** The last attempt of one instance and its result, on disk. */
export class Journal {
  readonly #file: JournalFile;
  #entry: JournalEntry | null = null;

  constructor(file: JournalFile) {
    this.#file = file;
  }

  get entry(): JournalEntry | null {
    return this.#entry;
  }

  async load(): Promise<void> {
    const text = await this.#file.read();
    if (text !== null) this.#entry = JSON.parse(text) as JournalEntry;
  }

  /** Resolves when the entry survives a power failure. */
  async write(entry: JournalEntry): Promise<void> {
    const past = pastBefore(this.#entry, entry.attempt.upgrade_id);
    const fenced = entry.plain ? fencedBefore(this.#entry) : undefined;
    const kept = { ...entry, ...(fenced && { fenced }), ...(past.length > 0 && { past }) };
    await this.#file.write(JSON.stringify(kept));
    this.#entry = kept;
  }

  /**
   * How a message relates to what was done: `new` must be executed, `same` is being executed or was (G4:
   * never again), `stale` is older than that. Without a fence (null) the id alone decides.
   */
  compare(id: AttemptId, fence: number | null): 'new' | 'same' | 'stale' {
    const entry = this.#entry;
    if (!entry || (fence !== null && fence > entry.fence)) return 'new';
    if (fence !== null && fence < entry.fence) return 'stale';
    const { attempt, past = [] } = entry;
    if (fence === null && id.upgrade_id !== attempt.upgrade_id)
      return past.includes(id.upgrade_id) ? 'stale' : 'new';
    // A plain order that came in the middle of an upgrade did not end that upgrade.
    const last = fence === null ? attempt : (entry.fenced ?? attempt);
    if (id.upgrade_id !== last.upgrade_id) return 'stale';
    const newer = id.step - last.step || id.attempt - last.attempt;
    if (newer !== 0) return newer > 0 ? 'new' : 'stale';
    return id.action === last.action ? 'same' : 'new';
  }

  /** True for the order that the journal is about: no newer one has arrived. */
  holds({ upgrade_id, step, attempt, action }: AttemptId): boolean {
    const held = this.#entry?.attempt;
    if (held?.upgrade_id !== upgrade_id || held.action !== action) return false;
    return held.step === step && held.attempt === attempt;
  }
}

function fencedBefore(entry: JournalEntry | null): AttemptId | undefined {
  if (!entry || entry.plain) return entry?.fenced;
  const { upgrade_id, step, attempt, action } = entry.attempt;
  return { upgrade_id, step, attempt, action };
}

function pastBefore(entry: JournalEntry | null, next_id: string): readonly string[] {
  if (!entry) return [];
  const { attempt, past = [] } = entry;
  if (attempt.upgrade_id === next_id) return past;
  return [...past.filter((id) => id !== attempt.upgrade_id), attempt.upgrade_id].slice(-MAX_PAST);
}

/**
 * The journal of an instance in its folder: one line for each entry, of which the last complete one counts.
 * Appending a line is half the work of replacing the file; the file is replaced once it has grown too large.
 */
export function fileIn(stateDir: string): JournalFile {
  const path = join(stateDir, JOURNAL);
  /** Null: unknown, and so the file is replaced. */
  let size: number | null = null;
  return {
    read: async () => {
      const text = await readIfThere(path);
      size = text === null ? null : Buffer.byteLength(text);
      return text === null ? null : lastLine(text);
    },
    write: async (text) => {
      const line = Buffer.from(`\n${text}\n`);
      const grown = (size ?? MAX_BYTES) + line.length;
      // If the write fails half-way, nobody knows how much of it is in the file.
      size = null;
      if (grown > MAX_BYTES) await writeFileAtomic(path, line, { mode: 0o600 });
      else await append(path, line);
      size = grown > MAX_BYTES ? line.length : grown;
    },
  };
}

/** A crash during an append may leave a part of a line: the last line that was completed counts. */
function lastLine(text: string): string | null {
  return text.split('\n').slice(0, -1).findLast(isWhole) ?? null;
}

function isWhole(line: string): boolean {
  try {
    return line !== '' && JSON.parse(line) !== null;
  } catch {
    return false;
  }
}

async function append(path: string, line: Buffer): Promise<void> {
  const file = await open(path, 'a', 0o600);
  try {
    await file.appendFile(line);
    await file.datasync();
  } finally {
    await file.close();
  }
}
