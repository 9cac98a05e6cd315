import type { UpgradeEvent } from '../../../src/core/record.ts';
import type { World } from '../world.ts';
import type { Checks } from './checks.ts';

/** G9, for a reader that reconnects: it continues after the last event that it has, and misses nothing. */
export class EventChecks {
  readonly #world: World;
  readonly #checks: Checks;
  readonly #last = new Map<string, number>();

  constructor(world: World, checks: Checks) {
    this.#world = world;
    this.#checks = checks;
  }

  readUpTo(upgrade_id: string): number {
    return this.#last.get(upgrade_id) ?? 0;
  }

  /** If the upgrade's cast begins it again, its events begin anew. */
  beginLost(upgrade_id: string): void {
    this.#last.delete(upgrade_id);
  }

  read(upgrade_id: string, events: readonly UpgradeEvent[]): void {
    // The events were read before the store lost them.
    if (!this.#world.store.data.upgrades.has(upgrade_id)) return;
    for (const { seq } of events) {
      const expected = this.readUpTo(upgrade_id) + 1;
      this.#checks.must(seq === expected, 'G9', `a reader gets event ${seq} after ${expected - 1}`);
      this.#last.set(upgrade_id, seq);
    }
  }

  isReadUp(): boolean {
    return [...this.#world.store.data.upgrades.values()].every(({ id, seq }) => this.readUpTo(id) >= seq);
  }

  atTheEnd(): void {
    for (const { id, seq } of this.#world.store.data.upgrades.values()) {
      const read = this.readUpTo(id);
      this.#checks.must(read === seq, 'G9', `of ${seq} events a reader has seen ${read}`);
    }
  }
}
