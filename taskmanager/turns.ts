/** Work on one record goes one after the other here, so that it doesn't conflict with itself. */
export class Turns {
  readonly #tails = new Map<string, Promise<unknown>>();

  /** Runs `work` after everything that was given before it under the same id; resolves or rejects as it does. */
  run<T>(id: string, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(id) ?? Promise.resolve();
    const mine = before.then(work);
    const tail = mine.catch(() => undefined);
    this.#tails.set(id, tail);
    void tail.then(() => {
      if (this.#tails.get(id) === tail) this.#tails.delete(id);
    });
    return mine;
  }
}
