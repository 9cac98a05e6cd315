import { open, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { AttemptId, AttemptReport } from '../src/core/domain.ts';

/** What a guest agent must not forget: written to its own disk before it acts, and after. */
export interface JournalEntry {
  readonly attempt: AttemptReport;
  /** What the attempt was told, so that a restarted agent can take it up again. */
  readonly info: Readonly<Record<string, unknown>>;
  /** Orders the upgrades of a cluster: nothing of an older one is executed any more. */
  readonly fence: number;
}

/** The last attempt of one instance and its result, on disk. */
export class Journal {
  readonly #path: string;
  #entry: JournalEntry | null = null;

  constructor(stateDir: string) {
    this.#path = join(stateDir, 'journal.json');
  }

  get entry(): JournalEntry | null {
    return this.#entry;
  }

  async load(): Promise<void> {
    try {
      this.#entry = JSON.parse(await readFile(this.#path, 'utf8')) as JournalEntry;
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code !== 'ENOENT') throw err;
    }
  }

  /** Resolves when the entry survives a power failure. */
  async write(entry: JournalEntry): Promise<void> {
    const draft = `${this.#path}.new`;
    const file = await open(draft, 'w', 0o600);
    try {
      await file.writeFile(JSON.stringify(entry));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, this.#path);
    await syncDirectory(dirname(this.#path));
    this.#entry = entry;
  }

  /**
   * How a message stands to what was done: `new` is to be executed, `same` is being executed or was
   * (G4: never again), `stale` is older than that.
   */
  compare(id: AttemptId, fence: number): 'new' | 'same' | 'stale' {
    const entry = this.#entry;
    if (!entry || fence > entry.fence) return 'new';
    if (fence < entry.fence) return 'stale';
    const { attempt } = entry;
    if (id.upgrade_id !== attempt.upgrade_id) return 'stale';
    const order = id.step - attempt.step || id.attempt - attempt.attempt;
    if (order !== 0) return order > 0 ? 'new' : 'stale';
    return id.action === attempt.action ? 'same' : 'new';
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
