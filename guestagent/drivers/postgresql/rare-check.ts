const CHECK_EVERY_MS = 30_000;
/** The largest share of time that checks may take, however many databases there are. */
const SHARE = 1 / 100;

/** A check that needs a session in each database of a server. So it is made rarely for heartbeats. */
export class RareCheck<Given extends readonly unknown[], Found> {
  readonly #find: (...given: Given) => Promise<Found>;
  #latest: Found | null = null;
  #checking: Promise<Found> | null = null;
  #nextAt = 0;

  constructor(find: (...given: Given) => Promise<Found>) {
    this.#find = find;
  }

  /** What the last check has found; null before the first has ended. */
  get latest(): Found | null {
    return this.#latest;
  }

  get isDue(): boolean {
    return Date.now() >= this.#nextAt;
  }

  /** Makes a check now, or joins the one that is under way. */
  check(...given: Given): Promise<Found> {
    this.#checking ??= this.#check(given).finally(() => {
      this.#checking = null;
    });
    return this.#checking;
  }

  async #check(given: Given): Promise<Found> {
    const began = Date.now();
    this.#nextAt = began + CHECK_EVERY_MS;
    const found = await this.#find(...given);
    this.#latest = found;
    const ended = Date.now();
    this.#nextAt = ended + Math.max(CHECK_EVERY_MS, (ended - began) / SHARE);
    return found;
  }
}
