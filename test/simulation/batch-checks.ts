/**
 * The properties that batches must have at every moment, derived from the contents of the store and the
 * versions of the servers. The B-numbers are those of `src/core/batch/advance.ts`, the G-numbers those of the
 * design.
 */
import { BATCH_ENDS, type Batch, MEMBER_STATES, type Member } from '../../src/core/batch/record.ts';
import { isActive, type Upgrade } from '../../src/core/record.ts';
import type { BatchWorld } from './batch-world.ts';
import type { StoreWatch } from './network.ts';

const ENDS = ['succeeded', 'failed', 'skipped', 'cancelled'];

export class BatchChecks implements StoreWatch {
  readonly violations: string[] = [];
  readonly #world: BatchWorld;
  readonly #seen = new Set<string>();

  constructor(world: BatchWorld) {
    this.#world = world;
  }

  before(): void {}

  after(method: string): void {
    if (method === 'upgrades.begin') this.#begun();
    if (method === 'batches.commit') this.#committed();
  }

  must(holds: boolean, text: string): void {
    if (holds || this.violations.includes(text)) return;
    this.#world.tell(`!!! ${text}`);
    this.violations.push(text);
  }

  #upgrades(): readonly Upgrade[] {
    return [...this.#world.store.data.upgrades.values()];
  }

  #batches(): readonly Batch[] {
    return [...this.#world.store.batches.data.batches.values()];
  }

  #members({ id }: Pick<Batch, 'id'>): readonly Member[] {
    return this.#world.store.batches.data.members.get(id) ?? [];
  }

  /** An upgrade has begun: checks that it was the cluster's turn, and that there was a free place for it. */
  #begun(): void {
    const active = this.#upgrades().filter((one) => one.batch && isActive(one));
    const { max_concurrent_total } = this.#world.scenario;
    this.must(
      active.length <= max_concurrent_total,
      `B2: ${active.length} in flight in all, ${max_concurrent_total} allowed`,
    );
    for (const batch of this.#batches()) {
      const own = active.filter((one) => one.batch?.id === batch.id);
      const most = Math.max(...batch.waves.map((wave) => wave.max_concurrent));
      this.must(own.length <= most, `B2: ${own.length} in flight, and no wave allows more than ${most}`);
    }
    for (const upgrade of active) if (!this.#seen.has(upgrade.id)) this.#isItsTurn(upgrade);
  }

  #isItsTurn(upgrade: Upgrade): void {
    this.#seen.add(upgrade.id);
    const batch = this.#batches().find(({ id }) => id === upgrade.batch?.id);
    const members = batch ? this.#members(batch) : [];
    const member = members.find(({ position }) => position === upgrade.batch?.position);
    this.must(member?.cluster_id === upgrade.cluster_id, 'B5: an upgrade is of another member');
    this.must(upgrade.tenant_id === member?.tenant_id, 'G10: of another tenant');
    if (!batch || member?.wave == null) return;
    this.must(upgrade.to_version_id === batch.to_version_id, 'B6: another target');
    const before = members.filter(
      ({ wave, state }) => wave !== null && wave < (member.wave ?? 0) && !ENDS.includes(state.name),
    );
    // A cluster that is tried again returns to its wave while later waves run, so those have begun before it.
    const isFirst = member.tries === 1 && upgrade.direction === 'forward';
    const isRetry = before.every(({ tries }) => tries > 0);
    this.must(
      before.length === 0 || !isFirst || isRetry,
      `B3: wave ${member.wave} begins before wave ${before[0]?.wave} is over`,
    );
  }

  /** B1, G9: tallies and events are true after every commit; an end that changes without a person is no end. */
  #committed(): void {
    for (const batch of this.#batches()) {
      const members = this.#members(batch);
      for (const [position, { counts, size }] of batch.waves.entries()) {
        const own = members.filter(({ wave }) => wave === position);
        for (const name of MEMBER_STATES) {
          const real = own.filter(({ state }) => state.name === name).length;
          this.must(
            counts[name] === real,
            `B1: wave ${position} counts ${counts[name]} ${name}, and has ${real}`,
          );
        }
        this.must(own.length === size, 'B1: a wave has lost a member');
      }
      const events = this.#world.store.batches.data.events.get(batch.id) ?? [];
      this.must(
        events.every(({ seq }, index) => seq === index + 1),
        'G9: events have a gap',
      );
      this.must(events.length === batch.seq, 'G9: the record does not know its events');
    }
  }

  atTheEnd(): void {
    for (const batch of this.#batches()) {
      this.must(
        (BATCH_ENDS as readonly string[]).includes(batch.state.name),
        `G1: it is ${batch.state.name}`,
      );
      const members = this.#members(batch);
      this.must(members.length === batch.size, 'B1: a member is missing');
      for (const member of members) this.#isTrue(batch, member);
      this.must(!this.#world.store.batches.data.loads.has(batch.id), 'B2: an ended batch holds places');
    }
    this.must(
      this.#upgrades().every((one) => !one.batch || !isActive(one)),
      'B1: an upgrade goes on without its batch',
    );
  }

  /** B1, G5: the recorded end of a member is the end of its upgrade. */
  #isTrue(batch: Batch, { cluster_id, cluster_name, state, upgrade_id, tries, from_version }: Member): void {
    this.must(ENDS.includes(state.name), `B1: ${cluster_name} is ${state.name} at the end`);
    const own = this.#upgrades().filter((one) => one.batch?.id === batch.id && one.cluster_id === cluster_id);
    this.must(own.length <= tries, `B5: ${own.length} upgrades of ${cluster_name} in ${tries} tries`);
    const last = own.find(({ id }) => id === upgrade_id);
    if (state.name === 'succeeded')
      this.must(last?.state.name === 'succeeded', `B1: ${cluster_name} succeeded by no upgrade`);
    // A rollback that could not begin leaves the result of the last upgrade in place.
    const isStranded =
      'reason' in state && state.reason.startsWith('its way back: ') && last?.follows === null;
    if (state.name === 'failed' && last && !isStranded) {
      const came = last.follows?.as === 'rollback' ? 'rolled_back' : 'succeeded';
      this.must(
        last.state.name !== came,
        `B1: ${cluster_name} failed, and its upgrade has ${last.state.name}`,
      );
    }
    const cluster = this.#world.store.data.clusters.get(cluster_id);
    if (!last || cluster?.upgrade_id !== last.id) return;
    const version = this.#world.servers.get(cluster_id)?.version;
    if (state.name === 'succeeded')
      this.must(version === batch.to_version, `G5: ${cluster_name} runs ${version}`);
    if ('reason' in state && state.reason.startsWith('rolled back to')) {
      this.must(version === from_version, `G5: ${cluster_name} is rolled back and runs ${version}`);
    }
  }
}
