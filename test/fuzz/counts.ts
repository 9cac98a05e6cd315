/** How often each kind of input got each answer. */
export class Counts {
  readonly #kinds = new Map<string, Map<string, number>>();

  /** `kind`: `GET /v1.0/{tenant_id}/clusters`, `taskmanager.upgrade`. `outcome`: `http 404`, `rpc cluster_busy`. */
  add(kind: string, outcome: string): void {
    const outcomes = this.#kinds.get(kind) ?? new Map<string, number>();
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    this.#kinds.set(kind, outcomes);
  }

  /** Over all kinds. */
  get outcomes(): Readonly<Record<string, number>> {
    const sums: Record<string, number> = {};
    for (const outcomes of this.#kinds.values()) {
      for (const [outcome, count] of outcomes) sums[outcome] = (sums[outcome] ?? 0) + count;
    }
    return sums;
  }

  /** Those of `kinds` that no input was of. */
  missing(kinds: readonly string[]): readonly string[] {
    return kinds.filter((kind) => !this.#kinds.has(kind));
  }

  /** Those of `kinds` that were never answered in such a way. */
  without(kinds: readonly string[], outcome: RegExp): readonly string[] {
    return kinds.filter(
      (kind) => ![...(this.#kinds.get(kind)?.keys() ?? [])].some((each) => outcome.test(each)),
    );
  }

  /** One line for each kind, the most frequent answer first. */
  lines(): readonly string[] {
    return [...this.#kinds]
      .toSorted(([a], [b]) => a.localeCompare(b))
      .map(([kind, outcomes]) => {
        const counts = [...outcomes].toSorted(([, a], [, b]) => b - a);
        const sum = counts.reduce((so_far, [, count]) => so_far + count, 0);
        return `  ${kind}: ${sum} (${counts.map(([outcome, count]) => `${outcome}: ${count}`).join(', ')})`;
      });
  }
}
