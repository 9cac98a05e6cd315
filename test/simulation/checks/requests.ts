import type { Request } from '../../../src/bus/bus.ts';
import type { UpgradeRequest } from '../../../src/core/admit.ts';
import type { Action } from '../../../src/core/machine/advance.ts';
import { TENANT, type World } from '../world.ts';
import type { Checks } from './checks.ts';

const ENDED = ['succeeded', 'failed', 'cancelled', 'rolled_back'];

/** G1, G3, G10: what was accepted is there, once, and ends. */
export class RequestChecks {
  readonly #world: World;
  readonly #checks: Checks;
  readonly #accepted = new Set<string>();
  readonly #acknowledged = new Set<string>();
  #paused: string | null = null;
  #unanswered = 0;
  #asked = 0;

  constructor(world: World, checks: Checks) {
    this.#world = world;
    this.#checks = checks;
  }

  /** Answered with 202. */
  accepted(upgrade_id: string, request: UpgradeRequest): void {
    this.#world.tell(`accepted: upgrade to ${request.datastore_version}`);
    this.#checks.must(request.tenant_id === TENANT, 'G10', 'a stranger upgrades the cluster');
    this.#checks.must(
      this.#world.store.data.upgrades.has(upgrade_id),
      'G1',
      'accepted, and not in the store',
    );
    this.#accepted.add(upgrade_id);
  }

  /** A person asks for something; answers whom to tell of the verdict. */
  asked(upgrade_id: string, action: Action): (verdict: string) => void {
    const isAlone = this.#unanswered === 0;
    this.#unanswered += 1;
    this.#paused = null;
    const number = ++this.#asked;
    return (verdict) => {
      this.#unanswered -= 1;
      const holds = action === 'pause' && verdict !== 'refused' && isAlone && this.#asked === number;
      if (holds) this.#paused = upgrade_id;
    };
  }

  /** A pause was answered, nothing else was under way, and nothing was asked for since. */
  isPaused(upgrade_id: string): boolean {
    return this.#paused === upgrade_id;
  }

  /** A taskmanager has taken the cast of another service. */
  acknowledged(request: Request): void {
    if (request.method !== 'upgrade_cluster') return;
    const { request_id } = request.context;
    const found = this.#of(request_id);
    this.#checks.must(
      found.length === 1,
      'G1',
      `a cast was acknowledged, and ${found.length} upgrades are its`,
    );
    this.#acknowledged.add(request_id);
  }

  #of(request_id: string) {
    const all = [...this.#world.store.data.upgrades.values()];
    return all.filter((upgrade) => upgrade.requested_by.request_id === request_id);
  }

  atTheEnd(): void {
    const { upgrades } = this.#world.store.data;
    for (const id of this.#accepted) this.#checks.must(upgrades.has(id), 'G1', 'an accepted upgrade is lost');
    for (const request_id of this.#acknowledged) {
      const found = this.#of(request_id).length;
      this.#checks.must(found === 1, 'G3', `one request, and ${found} upgrades`);
    }
    for (const { state } of upgrades.values()) {
      this.#checks.must(ENDED.includes(state.name), 'G1', `an upgrade is left ${state.name}`);
    }
  }
}
