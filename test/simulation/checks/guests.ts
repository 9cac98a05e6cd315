import type { JournalEntry } from '../../../guestagent/journal.ts';
import type { AttemptId, GuestAction } from '../../../src/core/domain.ts';
import type { Upgrade } from '../../../src/core/record.ts';
import type { Watch } from '../driver.ts';
import type { Server } from '../servers.ts';
import type { World } from '../world.ts';
import type { Checks } from './checks.ts';
import { hasOverride } from './policy.ts';

/** What was known about a server before an attempt took it down. */
interface Before {
  readonly wasWell: boolean;
  /** The servers that were certainly down at the time of the decision. */
  readonly broken: ReadonlySet<Server>;
}

interface Book {
  /** Orders that are on disk and not yet executed in this life of the agent. */
  expected: AttemptId[];
  /** Orders that were executed in this life. */
  executed: Set<string>;
  current: AttemptId | null;
  /** The newest order that was ever taken: its fence, step and attempt. */
  newest: readonly [number, number, number] | null;
}

/** G4, G2 and G6, checked where they are kept or broken: at the servers. */
export class GuestChecks implements Watch {
  readonly #world: World;
  readonly #checks: Checks;
  readonly #books = new Map<Server, Book>();
  /** Orders whose result is on disk: they must never be executed again. */
  readonly #settled = new Set<string>();
  readonly #accepted = new Set<string>();
  readonly #results = new Map<string, 'done' | 'failed'>();
  readonly #calls = new Map<string, number>();
  readonly #before = new Map<number, Before>();
  readonly #promotions = new Map<string, number>();
  #seen = -1;

  constructor(world: World, checks: Checks) {
    this.#world = world;
    this.#checks = checks;
  }

  #bookOf(server: Server): Book {
    const book = this.#books.get(server) ?? {
      expected: [],
      executed: new Set(),
      current: null,
      newest: null,
    };
    this.#books.set(server, book);
    return book;
  }

  /**
   * A guest agent starts: it resumes an order that was interrupted, which does not count as a second
   * execution.
   */
  starts(server: Server, entry: JournalEntry | null): void {
    const book = this.#bookOf(server);
    book.expected = entry?.attempt.status === 'running' ? [entry.attempt] : [];
    book.executed = new Set();
    book.current = null;
  }

  /** An order of a plain Trove taskmanager, identified by the id of its message. */
  hasTaken(server: Server, unique_id: string): boolean {
    return this.#accepted.has(keyOf(server, { upgrade_id: unique_id, step: 0, attempt: 1, action: 'fence' }));
  }

  journalled(server: Server, { attempt, fence, plain }: JournalEntry): void {
    const key = keyOf(server, attempt);
    if (attempt.status !== 'running') {
      this.#settled.add(key);
      return;
    }
    const book = this.#bookOf(server);
    this.#checks.must(!this.#accepted.has(key), 'G4', `${server.name} takes ${textOf(attempt)} twice`);
    this.#accepted.add(key);
    // The order has no fence, and therefore no place in the sequence of the others.
    if (plain) return;
    const order = [fence, attempt.step, attempt.attempt] as const;
    const isStale = book.newest !== null && isLess(order, book.newest);
    this.#checks.must(!isStale, 'G4', `${server.name} takes ${textOf(attempt)}, which is over`);
    if (!isStale) book.newest = order;
    book.expected.push(attempt);
  }

  /** A Trove guest receives an order to upgrade: only the record knows to which attempt the order belongs. */
  troveOrdered(server: Server): void {
    const { id } = this.#world.instanceOf(server);
    const book = this.#bookOf(server);
    book.current = null;
    for (const upgrade of this.#world.store.data.upgrades.values()) {
      const step = upgrade.steps.find((one) => one.instance_id === id && one.phase.name === 'upgrading');
      if (step) {
        book.current = { upgrade_id: upgrade.id, step: step.id, attempt: step.attempt, action: 'upgrade' };
      }
    }
    this.#world.tell(`${server.name} is told to upgrade`);
  }

  executes(server: Server, action: GuestAction): void {
    if (action === 'pre_upgrade' || action === 'post_upgrade') return;
    const book = this.#bookOf(server);
    // An order that was overtaken by a newer order must not be executed at all.
    const index = book.expected.findLastIndex((each) => each.action === action);
    const attempt = book.expected.splice(0, index + 1).at(-1);
    book.current = attempt ?? null;
    this.#checks.must(
      attempt !== undefined,
      'G4',
      `${server.name} executes ${action}, and has noted no such order`,
    );
    if (!attempt) return;
    this.#world.tell(`${server.name} executes ${textOf(attempt)}`);
    const key = keyOf(server, attempt);
    const isAgain = book.executed.has(key) || this.#settled.has(key);
    this.#checks.must(!isAgain, 'G4', `${server.name} executes ${textOf(attempt)} again`);
    book.executed.add(key);
    // A guest that still works while its cluster is being removed does no harm any more.
    if (!this.#world.store.data.clusters.has(this.#world.cluster.id)) return;
    const step = this.#world.store.data.upgrades
      .get(attempt.upgrade_id)
      ?.steps.find(({ id }) => id === attempt.step);
    const isDecided = step !== undefined && step.attempt >= attempt.attempt;
    this.#checks.must(isDecided, 'G4', `${server.name} executes ${textOf(attempt)}, which no record knows`);
  }

  executed(server: Server, action: GuestAction, outcome: 'done' | 'failed'): void {
    if (action === 'pre_upgrade' || action === 'post_upgrade') {
      if (outcome === 'done') this.#calls.set(`${server.index}/${action}`, this.#world.scheduler.now);
      return;
    }
    const { current } = this.#bookOf(server);
    if (!current) return;
    this.#world.tell(`${server.name}: ${textOf(current)} ${outcome}`);
    this.#results.set(keyOf(server, current), outcome);
  }

  /** How an order ended at the server itself; undefined while it has not ended. */
  resultOf(server: Server, attempt: AttemptId): 'done' | 'failed' | undefined {
    return this.#results.get(keyOf(server, attempt));
  }

  /** The time when a call was last answered successfully. */
  calledAt(server: Server, action: 'pre_upgrade' | 'post_upgrade'): number {
    return this.#calls.get(`${server.index}/${action}`) ?? Number.NEGATIVE_INFINITY;
  }

  /** An attempt begins: from now on the present knowledge of its server counts (G2). */
  attempted(server: Server): void {
    if (server.isDownByUpgrade) return;
    const { records } = this.#checks;
    const broken = this.#world.servers.all.filter((other) => records.wasBrokenLately(other));
    this.#before.set(server.index, { wasWell: records.wasWellLately(server), broken: new Set(broken) });
  }

  takenDown(server: Server, action: GuestAction): void {
    const { current } = this.#bookOf(server);
    const upgrade = this.#world.store.data.upgrades.get(current?.upgrade_id ?? '');
    if (!upgrade) return;
    this.#checkAvailability(server, upgrade);
    if (action !== 'demote') return;
    const { servers, scheduler } = this.#world;
    const { now } = scheduler;
    const version = upgrade.steps.find(({ id }) => id === current?.step)?.to_version ?? '';
    const ready = servers.all.some(
      (other) => other !== server && !other.isPrimary && servers.ran(other, version, now - 20_000, now),
    );
    this.#checks.must(ready, 'G6', `${server.name} is demoted, and nobody upgraded is there to take over`);
  }

  /** G2: an instance that was in service goes down. */
  #checkAvailability(server: Server, { id, policy }: Upgrade): void {
    const max_unavailable = limitOf(policy.max_unavailable, this.#world.servers.all.length);
    const before = this.#before.get(server.index);
    if (!before?.wasWell) return;
    const down = this.#world.servers.all.filter((other) => {
      if (other === server) return true;
      // A server that an earlier upgrade has left down was seen by the person who overrides the gate.
      const isOurs = this.#bookOf(other).current?.upgrade_id === id;
      if (hasOverride(policy, 'instances_healthy') && !isOurs) return false;
      if (other.isDownByUpgrade) return this.#before.get(other.index)?.wasWell ?? true;
      if (hasOverride(policy, 'instances_healthy')) return false;
      return !other.isUp && before.broken.has(other);
    });
    const names = down.map(({ name }) => name).join(', ');
    this.#checks.must(
      down.length <= max_unavailable,
      'G2',
      `${down.length} of at most ${max_unavailable} out of service: ${names}`,
    );
  }

  promoted(server: Server): void {
    const { servers } = this.#world;
    const lost = servers.acknowledged - server.received;
    this.#checks.must(
      lost <= 0,
      'G6',
      `${server.name} takes over, and acknowledged writes are lost: ${lost}`,
    );
    const { upgrade_id = '', step } = this.#bookOf(server).current ?? {};
    // One switchover forward, and at most one back again.
    const steps = this.#world.store.data.upgrades.get(upgrade_id)?.steps;
    const round = steps?.find(({ id }) => id === step)?.round;
    const count = (this.#promotions.get(`${upgrade_id}/${round}`) ?? 0) + 1;
    this.#promotions.set(`${upgrade_id}/${round}`, count);
    this.#checks.must(count === 1, 'G6', `switchover number ${count} of one upgrade`);
  }

  afterStep(): void {
    const { servers } = this.#world;
    if (servers.changes === this.#seen) return;
    this.#seen = servers.changes;
    const serving = servers.all.filter((server) => server.isUp && server.isPrimary && !server.isByHand);
    const names = serving.map(({ name }) => name).join(', ');
    this.#checks.must(serving.length <= 1, 'G6', `two primaries serve: ${names}`);
    const lost = servers.acknowledged - (serving[0]?.received ?? servers.acknowledged);
    this.#checks.must(lost <= 0, 'G6', `${names} serves without acknowledged writes: ${lost} lost`);
  }
}

/** G2's limit as a number: a percentage is rounded down, and the limit is at least one. */
function limitOf(limit: number | string, instances: number): number {
  if (typeof limit === 'number') return limit;
  return Math.max(1, Math.floor((instances * Number(limit.replace('%', ''))) / 100));
}

function keyOf(server: Server, { upgrade_id, step, attempt, action }: AttemptId): string {
  return `${server.index}/${upgrade_id}/${step}/${attempt}/${action}`;
}

function textOf({ step, attempt, action }: AttemptId): string {
  return `${action} of step ${step} attempt ${attempt}`;
}

function isLess(one: readonly [number, number, number], other: readonly [number, number, number]): boolean {
  const index = one.findIndex((value, at) => value !== other[at]);
  return index >= 0 && (one[index] ?? 0) < (other[index] ?? 0);
}
