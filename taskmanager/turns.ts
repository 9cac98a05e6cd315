/**
 * Does the work on one record one piece after the other, so that this process does not conflict with itself.
 */
export class Turns {
  readonly #tails = new Map<string, Promise<unknown>>();

  /**
   * Runs `work` after all work that was given before it under the same id. Resolves or rejects as `work`
   * does.
   */
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
