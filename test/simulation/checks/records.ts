import type { Cluster, GuestReport } from '../../../src/core/domain.ts';
import type { Step, Upgrade, UpgradeEvent } from '../../../src/core/record.ts';
import type { DueItem } from '../../../src/store/due.ts';
import type { Commit } from '../../../src/store/upgrades.ts';
import type { StoreWatch } from '../network.ts';
import { type Server, skewOf } from '../servers.ts';
import type { World } from '../world.ts';
import type { Checks } from './checks.ts';
import { isReturn } from './policy.ts';

const ACTIVE = ['scheduled', 'running', 'paused', 'rolling_back'];
/** Everything that waits is checked again within this time. */
const LOOKED_AT_MS = 90_000;
/** An order to one of Trove's guests is not sent again: the step is checked when its time is up. */
const TROVE_LOOKED_AT_MS = 601_000;
/** Longer than the time between reading anything and acting upon it. */
const LATELY_MS = 20_000;
/** The longest time between reading a record and the commit that follows from it. */
const READ_MS = 13_000;
const MIB = 1024 * 1024;

/** Checks everything that is written to the store, before and after. */
export class RecordChecks implements StoreWatch {
  readonly #world: World;
  readonly #checks: Checks;
  #upgrade: Upgrade | undefined;
  #cluster: Cluster | undefined;
  /** Somebody has deleted the cluster while it was idle. */
  isDeleted = false;
  readonly #mistaken = new Set<Server>();
  /** The latest reports of each guest, and when each was received. */
  readonly #reports = new Map<string, { readonly at: number; readonly report: GuestReport }[]>();

  constructor(world: World, checks: Checks) {
    this.#world = world;
    this.#checks = checks;
  }

  before(method: string, args: readonly unknown[]): void {
    const { upgrades, clusters } = this.#world.store.data;
    this.#cluster = clusters.get(this.#world.cluster.id);
    if (method === 'upgrades.commit') this.#upgrade = upgrades.get((args[0] as Commit).upgrade.id);
  }

  after(method: string, args: readonly unknown[], result: unknown): void {
    if (method === 'upgrades.commit' && result === 'committed') this.#committed(args[0] as Commit);
    if (method === 'upgrades.begin' && (result as { verdict: string }).verdict === 'begun') {
      this.#begun(args[0] as Upgrade);
    }
    if (method === 'due.defer') this.#deferred(args[0] as DueItem, args[1] as number);
    if (method === 'provisioning.beginDelete' && result === 'begun') this.#deleted();
    if (method === 'clusters.heartbeat' && (result as { fresh: boolean } | null)?.fresh) {
      this.#heard(String(args[0]), args[1] as GuestReport);
    }
  }

  /** Certain: there were reports in the last seconds, and every one found the server in service. */
  wasWellLately(server: Server): boolean {
    const said = this.#lately(this.#world.instanceOf(server).id);
    return said.length > 0 && said.every((one) => one.service_status === 'healthy');
  }

  /** Certain: it was reported as out of service before anything was read that counts now, and ever since. */
  wasBrokenLately(server: Server): boolean {
    const known = this.#reports.get(this.#world.instanceOf(server).id) ?? [];
    const before = known.findLastIndex(({ at }) => at < this.#world.scheduler.now - READ_MS);
    return before >= 0 && known.slice(before).every(({ report }) => report.service_status !== 'healthy');
  }

  /** Certain: it was reported as the primary before anything was read that counts now, and ever since. */
  #wasPrimaryLately(server: Server): boolean {
    const known = this.#reports.get(this.#world.instanceOf(server).id) ?? [];
    const before = known.findLastIndex(({ at }) => at < this.#world.scheduler.now - READ_MS);
    return before >= 0 && known.slice(before).every(({ report }) => report.role === 'primary');
  }

  /** Whether a heartbeat was received since then, by our clock. */
  wasHeard(instance_id: string, since: number): boolean {
    return (this.#reports.get(instance_id) ?? []).some(({ at }) => at >= since);
  }

  #lately(instance_id: string): readonly GuestReport[] {
    const since = this.#world.scheduler.now - LATELY_MS;
    return (this.#reports.get(instance_id) ?? []).filter(({ at }) => at >= since).map(({ report }) => report);
  }

  #heard(instance_id: string, report: GuestReport): void {
    const after = this.#world.store.data.clusters.get(this.#world.cluster.id);
    const others = after?.instances.filter(({ id }) => id !== instance_id) ?? [];
    const isAlone = others.every((one) => this.#cluster?.instances.includes(one));
    this.#checks.must(isAlone, 'G10', 'a heartbeat changed what is held of another instance');
    const server = this.#world.servers.all.find((each) => this.#world.instanceOf(each).id === instance_id);
    if (!server) return;
    const at = this.#world.scheduler.now;
    const known = (this.#reports.get(instance_id) ?? []).filter((one) => one.at >= at - LATELY_MS);
    this.#reports.set(instance_id, [...known, { at, report }]);
    if (this.#world.isTrove) return;
    const sent = report.sent - skewOf(server);
    const isTrue = this.#world.servers.ran(server, report.version ?? null, sent - 1, sent + 1_000);
    this.#checks.must(isTrue, 'G5', `${server.name} is held to run ${report.version}, and did not`);
  }

  #begun(upgrade: Upgrade): void {
    const all = [...this.#world.store.data.upgrades.values()];
    const rivals = all.filter((one) => one.cluster_id === upgrade.cluster_id && isActive(one));
    this.#checks.must(rivals.length === 1, 'G3', `${rivals.length} upgrades of one cluster at a time`);
    this.#checks.must(upgrade.tenant_id === this.#cluster?.tenant_id, 'G10', 'begun for another tenant');
    this.#world.tell(`begun: upgrade to ${upgrade.to_version}`);
    this.#checks.requests.begun(upgrade);
  }

  /**
   * G1: a taskmanager checked the record and found nothing to do: the event that it waits for is still to
   * come.
   */
  #deferred({ kind, id }: DueItem, wake_at: number): void {
    const upgrade = kind === 'upgrade' ? this.#world.store.data.upgrades.get(id) : undefined;
    if (!upgrade) return;
    const passed = this.#world.scheduler.now - READ_MS;
    const { state } = upgrade;
    const until = state.name === 'paused' ? state.until : null;
    this.#checks.must(
      wake_at > passed,
      'G1',
      `nothing is to be done, and it is woken at ${wake_at}, in the past`,
    );
    this.#checks.must(
      until === null || until > passed,
      'G1',
      `it goes on waiting for ${until}, which has passed`,
    );
  }

  #deleted(): void {
    const task = this.#cluster?.task ?? 'none';
    this.#checks.must(task === 'NONE', 'G3', `a cluster is deleted while its task is ${task}`);
    this.#world.tell('the cluster is deleted');
    this.isDeleted = true;
  }

  #committed({ upgrade: after, events, wake_at, now }: Commit): void {
    const before = this.#upgrade;
    const cluster = this.#world.store.data.clusters.get(after.cluster_id);
    if (!before || !cluster || !this.#cluster) return;
    for (const { seq, message } of events) this.#world.tell(`  ${seq} ${message}`);
    this.#checks.must(isActive(before), 'G1', 'an upgrade that had ended moves');
    this.#checkEvents(before, after, events);
    this.#checkTask(after, cluster);
    this.#checkVersion(after, cluster, this.#cluster);
    this.#checkWake(after, wake_at);
    for (const step of after.steps) {
      this.#checkStep(before, after, step, now);
    }
    this.#checks.policy.committed(before, after, now);
    this.#checks.policy.waits(after, cluster, now);
    if (!isActive(after)) this.#checkRest(after);
  }

  #checkEvents(before: Upgrade, after: Upgrade, events: readonly UpgradeEvent[]): void {
    const isGapless = events.every(({ seq }, index) => seq === before.seq + 1 + index);
    const held = this.#world.store.data.events.get(after.id) ?? [];
    const isWhole = after.seq === before.seq + events.length && held.length === after.seq;
    this.#checks.must(isGapless && isWhole, 'G9', `events ${before.seq} to ${after.seq} have a gap`);
    const switched = held.filter(({ type }) => type === 'switched_over').length;
    this.#checks.policy.toldOf(before, events, held);
    this.#checks.must(switched <= 1 + after.round, 'G6', `${switched} switchovers in one upgrade`);
  }

  /** G3: the upgrade holds the task while it is active, and only then. */
  #checkTask(after: Upgrade, cluster: Cluster): void {
    const isHeld = cluster.task === 'UPGRADING_CLUSTER' && cluster.upgrade_id === after.id;
    this.#checks.must(
      isHeld === isActive(after),
      'G3',
      `${after.state.name}, and the task is ${cluster.task}`,
    );
  }

  #checkVersion(after: Upgrade, cluster: Cluster, before: Cluster): void {
    const { all } = this.#world.servers;
    const { datastore_version: version } = cluster;
    const { instance_id, state } = after;
    const mustRun = (which: readonly Server[], goal: string, what: string) => {
      const names = which.filter((server) => !this.#runs(server, goal)).map(({ name }) => name);
      this.#checks.must(names.length === 0, 'G5', `${what} on ${goal}, ${names.join(', ')} is not`);
    };
    if (version !== before.datastore_version) mustRun(all, version, 'the cluster is');
    const goals: Partial<Record<string, string>> = {
      succeeded: after.to_version,
      rolled_back: after.from_version,
    };
    const goal = goals[state.name];
    if (goal === undefined) return;
    const own = all.filter((server) => this.#world.instanceOf(server).id === instance_id);
    mustRun(instance_id === undefined ? all : own, goal, `${state.name}, and to be`);
    const isTrue = instance_id !== undefined || version === goal;
    this.#checks.must(isTrue, 'G5', `${state.name}, and the cluster is on ${version}`);
  }

  /** G1: every record that waits is checked again. */
  #checkWake(after: Upgrade, wake_at: number | null): void {
    const { now } = this.#world.scheduler;
    const isDue =
      wake_at !== null && wake_at <= now + (this.#world.isTrove ? TROVE_LOOKED_AT_MS : LOOKED_AT_MS);
    this.#checks.must(
      isDue === isActive(after),
      'G1',
      `${after.state.name}, and to be looked at: ${wake_at}`,
    );
    const { state } = after;
    if (state.name === 'paused') this.#checks.must(state.message !== '', 'G1', 'paused without a reason');
  }

  #checkStep(earlier: Upgrade, after: Upgrade, step: Step, now: number): void {
    const before = earlier.steps.find(({ id }) => id === step.id);
    const [from, to] = [before?.phase.name ?? 'pending', step.phase.name];
    this.#checks.must(!before || step.attempt >= before.attempt, 'G4', `attempts of step ${step.id} go down`);
    if (from === to && before?.attempt === step.attempt) return;
    this.#checks.must(from !== 'done', 'G4', `step ${step.id} was done, and is ${to}`);
    if (to === 'preparing') this.#checkStart(earlier, after, step, now);
    this.#checkProof(after, step, before);
  }

  /** G8: while paused or cancelling, nothing new starts, except the return of the old primary. */
  #checkStart(before: Upgrade, after: Upgrade, step: Step, now: number): void {
    const server = this.#serverOf(step.instance_id);
    if (server) this.#checks.guests.attempted(server);
    if (isReturn(after.steps, step)) return;
    const primaries = this.#world.servers.all.filter((one) => this.#wasPrimaryLately(one));
    const names = primaries.map(({ name }) => name).join(' and ');
    const isOne = primaries.length < 2 || step.kind === 'fence';
    this.#checks.must(isOne, 'G6', `step ${step.id} starts while ${names} are primaries`);
    this.#checks.policy.starts(after, step, now);
    const { requests } = this.#checks;
    const [isPaused, isCancelled] = [requests.isPaused(after.id), requests.isCancelled(after.id)];
    this.#checks.must(!isPaused, 'G8', `a pause was answered, and step ${step.id} starts`);
    this.#checks.must(!isCancelled, 'G8', `a cancel was answered, and step ${step.id} starts`);
    const mayNot = (one: Upgrade) => one.state.name === 'paused' || one.cancelling;
    this.#checks.must(!mayNot(before) || !mayNot(after), 'G8', `step ${step.id} starts all the same`);
  }

  /** G4, G5, G6: no phase ends before the action that it waits for has happened. */
  #checkProof(upgrade: Upgrade, step: Step, before: Step | undefined): void {
    const from = before?.phase;
    const to = step.phase.name;
    const server = this.#serverOf(step.instance_id);
    const successor = this.#serverOf(step.successor_id ?? '');
    if (!before || !from || !server) return;
    const { id: upgrade_id } = upgrade;
    const attempt = { upgrade_id, step: step.id, attempt: before.attempt };
    const { guests } = this.#checks;
    const must = (holds: boolean, text: string) =>
      this.#checks.must(holds, 'G4', `step ${step.id} is ${to}, and ${server.name} ${text}`);
    const isOn = ['verifying', 'settling', 'soaking', 'done'].includes(to);
    if (from.name === 'preparing' && (to === 'upgrading' || to === 'demoting')) {
      must(guests.calledAt(server, 'pre_upgrade') >= from.since - 1_000, 'did not make ready');
      if (to === 'upgrading') this.#checkPrimary(server);
      else this.#checkSuccessor(step, server);
    }
    if (from.name === 'upgrading' && isOn && this.#world.isTrove) {
      this.#mistake(server, step, from.since);
      must(this.#runs(server, step.to_version), `runs ${server.version}`);
    } else if (from.name === 'upgrading' && isOn) {
      must(guests.resultOf(server, { ...attempt, action: 'upgrade' }) === 'done', 'did not upgrade');
    }
    if (from.name === 'verifying' && isOn) {
      must(guests.calledAt(server, 'post_upgrade') >= from.since - 1_000, 'did not verify');
    }
    if (to === 'done' && step.kind === 'instance') {
      must(this.#runs(server, step.to_version), `runs ${server.version}`);
    }
    if (from.name === 'demoting' && to === 'promoting') {
      must(guests.resultOf(server, { ...attempt, action: 'demote' }) === 'done', 'was not demoted');
    }
    if (from.name === 'promoting' && successor) {
      if (to === 'following' || to === 'done')
        must(successor.isPrimary, `has no successor ${successor.name}`);
      const result = guests.resultOf(successor, { ...attempt, action: 'promote' });
      const isCertain = to !== 'restoring' || (!successor.isPrimary && result === 'failed');
      this.#checks.must(isCertain, 'G6', `${server.name} is restored, and ${successor.name} may take over`);
    }
  }

  /** G6: a primary that is known to serve is not upgraded in place while others could lead. */
  #checkPrimary(server: Server): void {
    const { servers, scheduler } = this.#world;
    if (!server.isPrimary || !server.isUp || !servers.isReplicated || servers.all.length === 1) return;
    const said = this.#lately(this.#world.instanceOf(server).id);
    const isKnown =
      said.length > 3 &&
      said.every((one) => one.service_status === 'healthy') &&
      (server.upSince ?? scheduler.now) < scheduler.now - LATELY_MS;
    this.#checks.must(!isKnown, 'G6', `${server.name} serves as primary, and is upgraded in place`);
  }

  /** G6: according to the latest reports, a replica that runs the new version had caught up. */
  #checkSuccessor(step: Step, primary: Server): void {
    const isReady = this.#world.servers.all.some(
      (server) =>
        server !== primary &&
        this.#lately(this.#world.instanceOf(server).id).some(
          ({ role, version, lag_bytes }) =>
            role === 'replica' && version === step.to_version && (lag_bytes ?? MIB + 1) <= MIB,
        ),
    );
    this.#checks.must(isReady, 'G6', `${primary.name} is to step down, and nobody is ready to take over`);
  }

  /** After the end: no old primary stays down because of the upgrade, and no instance is busy for ever. */
  #checkRest(after: Upgrade): void {
    for (const server of this.#world.servers.all) {
      const { id } = this.#world.instanceOf(server);
      const own = after.steps.filter((step) => step.instance_id === id);
      const hasFailed = own.some(({ phase }) => phase.name === 'failed');
      // Otherwise an earlier upgrade, whose status was reset, has left it so.
      const isOurs = own.some(({ kind, attempt }) => kind === 'switchover' && attempt > 0);
      const isLeft = server.state.phase === 'demoted' && isOurs && !hasFailed;
      this.#checks.must(!isLeft, 'G8', `ended as ${after.state.name}, and ${server.name} is left demoted`);
    }
  }

  #serverOf(instance_id: string): Server | undefined {
    return this.#world.servers.all.find((server) => this.#world.instanceOf(server).id === instance_id);
  }

  /**
   * The recorded version of every instance is the version that runs. An agent that its driver holds up may
   * take a while.
   */
  isTrue(): boolean {
    return this.isDeleted || this.#world.servers.all.every((server) => this.#saysOf(server) === isOf(server));
  }

  /**
   * The server of a Trove guest went down and came back for a reason of its own, after its order: nobody can
   * distinguish that from an upgrade. Until it runs the version in the record, nothing follows from its
   * version.
   */
  #mistake(server: Server, { to_version }: Step, since: number): void {
    const isMistaken = server.version !== to_version && server.troubledAt >= since - LATELY_MS;
    if (isMistaken) this.#mistaken.add(server);
    else this.#mistaken.delete(server);
  }

  #runs(server: Server, version: string): boolean {
    return server.version === version || this.#mistaken.has(server);
  }

  #saysOf(server: Server): string | null {
    const cluster = this.#world.store.data.clusters.get(this.#world.cluster.id);
    if (this.#world.isTrove) return this.#saysOfTrove(server, cluster?.instances[server.index]?.told_version);
    return cluster?.instances[server.index]?.report?.version ?? null;
  }

  /** For a Trove guest the record may hold no version; if it holds one, the guest runs that version. */
  #saysOfTrove(server: Server, told: string | null | undefined): string | null {
    return told == null || this.#mistaken.has(server) ? isOf(server) : server.isUp ? told : null;
  }

  atTheEnd(): void {
    if (this.isDeleted) return;
    const cluster = this.#world.store.data.clusters.get(this.#world.cluster.id);
    this.#checks.must(cluster?.task === 'NONE', 'G1', `in the end the cluster's task is ${cluster?.task}`);
    for (const server of this.#world.servers.all) {
      const held = cluster?.instances[server.index];
      const [says, is] = [this.#saysOf(server), isOf(server)];
      this.#checks.must(
        says === is,
        'G5',
        `in the end ${server.name} runs ${is}, and is held to run ${says}`,
      );
      this.#checks.must(held?.task !== 'UPGRADING', 'G5', `in the end ${server.name} is UPGRADING for ever`);
    }
  }
}

function isActive({ state }: Upgrade): boolean {
  return ACTIVE.includes(state.name);
}

function isOf({ isUp, version }: Server): string | null {
  return isUp ? version : null;
}
