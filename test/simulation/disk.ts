import type { JournalEntry, JournalFile } from '../../guestagent/journal.ts';
import type { Life } from './process.ts';
import type { Random } from './random.ts';
import type { Scheduler } from './scheduler.ts';

/** A guest's disk: survives its agent. */
export class Disk {
  #text: string | null = null;
  readonly #onWrite: (entry: JournalEntry) => void;

  constructor(onWrite: (entry: JournalEntry) => void) {
    this.#onWrite = onWrite;
  }

  get entry(): JournalEntry | null {
    return this.#text === null ? null : (JSON.parse(this.#text) as JournalEntry);
  }

  /** The file as one life of the agent sees it. One that dies while it writes has written, or not. */
  fileFor(life: Life, scheduler: Scheduler, random: Random): JournalFile {
    return {
      read: () => life.guard(Promise.resolve(this.#text)),
      write: (text) =>
        new Promise((resolve) => {
          if (!life.step()) return;
          const keep = () => {
            this.#text = text;
            this.#onWrite(JSON.parse(text) as JournalEntry);
          };
          const callOff = scheduler.after(random.delay(5, 200), () => {
            spare();
            keep();
            if (life.step()) resolve();
          });
          const spare = life.onDeath(() => {
            callOff();
            if (random.chance(0.5)) keep();
          });
        }),
    };
  }
}
