import type { JournalEntry, JournalFile } from '../../guestagent/journal.ts';
import type { Life } from './process.ts';
import type { Random } from './random.ts';
import type { Scheduler } from './scheduler.ts';

/** A guest's disk: it survives the agent. */
export class Disk {
  #text: string | null = null;
  readonly #onWrite: (entry: JournalEntry) => void;
  /** How many of the next writes fail because the disk is full. */
  #refusals = 0;

  constructor(onWrite: (entry: JournalEntry) => void) {
    this.#onWrite = onWrite;
  }

  refuse(times: number): void {
    this.#refusals = times;
  }

  get entry(): JournalEntry | null {
    return this.#text === null ? null : (JSON.parse(this.#text) as JournalEntry);
  }

  /**
   * The file as one life of the agent sees it. If the agent dies during a write, the write may have happened
   * or not.
   */
  fileFor(life: Life, scheduler: Scheduler, random: Random): JournalFile {
    return {
      read: () => life.guard(Promise.resolve(this.#text)),
      write: (text) =>
        new Promise((resolve, reject) => {
          if (!life.step()) return;
          if (this.#refusals > 0) {
            this.#refusals -= 1;
            return void life.sleep(5).then(() => reject(new Error('ENOSPC: no space left on device')));
          }
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
