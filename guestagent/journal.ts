import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { AttemptId, AttemptReport } from '../src/core/domain.ts';
import { readIfThere } from '../src/files.ts';
import { writeFileAtomic } from './files.ts';

/** What a guest agent must not forget: written to its own disk before it acts, and after. */
export interface JournalEntry {
  readonly attempt: AttemptReport;
  /** What the attempt was told, so that a restarted agent can take it up again. */
  readonly info: Readonly<Record<string, unknown>>;
  /**
   * Orders the upgrades of a cluster: nothing of an older one is executed any more. An order that brings none
   * leaves the fence as it was.
   */
  readonly fence: number;
  /** On whose request: in every line that is logged about it, and in every report of it. */
  readonly request_id: string;
  /** The span in which it came; absent where nothing is traced. */
  readonly trace?: string;
  /** It brought no fence: a plain Trove taskmanager gave it. */
  readonly plain?: true;
  /** Of a plain order: the newest before it that brought a fence. */
  readonly fenced?: AttemptId;
  /** Ids of the orders before, oldest first: one that brings no fence and comes again is known by its id. */
  readonly past?: readonly string[];
}

const JOURNAL = 'journal.jsonl';
/** More than a guest has in hand at once, and so more than RabbitMQ can deliver again. */
const MAX_PAST = 128;
/** A journal that has grown beyond is begun anew with its last entry. */
const MAX_BYTES = 65_536;

/** Where a journal is kept. */
export interface JournalFile {
  /** What was written last; null if nothing ever was. */
  read(): Promise<string | null>;
  /** Resolves when it survives a power failure. A crash before leaves what was written last, or this. */
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
   * How a message stands to what was done: `new` is to be executed, `same` is being executed or was
   * (G4: never again), `stale` is older than that. Without a fence (null) the id alone tells.
   */
  compare(id: AttemptId, fence: number | null): 'new' | 'same' | 'stale' {
    const entry = this.#entry;
    if (!entry || (fence !== null && fence > entry.fence)) return 'new';
    if (fence !== null && fence < entry.fence) return 'stale';
    const { attempt, past = [] } = entry;
    if (fence === null && id.upgrade_id !== attempt.upgrade_id)
      return past.includes(id.upgrade_id) ? 'stale' : 'new';
    // A plain order that came in between has ended none of the upgrade that it came into.
    const last = fence === null ? attempt : (entry.fenced ?? attempt);
    if (id.upgrade_id !== last.upgrade_id) return 'stale';
    const order = id.step - last.step || id.attempt - last.attempt;
    if (order !== 0) return order > 0 ? 'new' : 'stale';
    return id.action === last.action ? 'same' : 'new';
  }

  /** True for the order that the journal is about: no newer one has come in. */
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
 * The journal of an instance in its folder: one line for each entry, and the last whole one counts. To add a
 * line is half the work of a new file in the place of the old one; that is done once the file has grown.
 */
export function fileIn(stateDir: string): JournalFile {
  const path = join(stateDir, JOURNAL);
  /** Null: not known, and so it is begun anew. */
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
      // Should it fail half-way, nobody knows how much of it is there.
      size = null;
      if (grown > MAX_BYTES) await writeFileAtomic(path, line, { mode: 0o600 });
      else await append(path, line);
      size = grown > MAX_BYTES ? line.length : grown;
    },
  };
}

/** Of a crash while a line was added there may be a part of it: the last line that was ended counts. */
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
