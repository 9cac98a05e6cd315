/**
 * A guest agent and its server as a script says: what the real agent and driver do, without a process.
 * Keeps the truth that the machine can only hear of: which version runs, who is primary, what is down.
 */
import type { AdoptionReport } from '../../../src/core/adoption.ts';
import type {
  AttemptId,
  AttemptReport,
  Endpoint,
  GuestAction,
  GuestFinding,
  GuestReport,
  Hindrance,
  Instant,
  Placement,
  Role,
} from '../../../src/core/domain.ts';

/** How one execution of an action goes. Nothing said: quickly and well. */
export interface Outcome {
  readonly ms?: number;
  readonly error?: string;
  readonly permanent?: boolean;
  /** The message is lost on the guest's side: not accepted, not executed, not answered. */
  readonly silent?: boolean;
  /** After a failed upgrade the server doesn't come back on the old version either. */
  readonly leaves_down?: boolean;
  /** A Trove guest whose answer gets lost, or that is told by a cast and so answers nobody. */
  readonly unheard?: boolean;
  /** A Trove guest that takes an order to upgrade and leaves its server as it is. */
  readonly does_nothing?: boolean;
}

/** One outcome for ever, or one per execution and all is well after the last. */
export type Script = Partial<Record<GuestAction, Outcome | readonly Outcome[]>>;

const USUAL_MS: Readonly<Record<GuestAction, number>> = {
  pre_upgrade: 200,
  upgrade: 1_000,
  post_upgrade: 100,
  demote: 100,
  promote: 100,
  follow: 50,
  fence: 10,
};
/** A standby that doesn't stream for so long finds itself failed. */
const STREAM_GRACE_MS = 5_000;

/** What reaches a guest: an effect of the machine with the fence that the shell adds. */
interface Order {
  readonly attempt: AttemptId;
  readonly args: Readonly<Record<string, unknown>>;
  readonly fence: Instant;
}

export type Answer =
  | { readonly kind: 'answered'; readonly info: Readonly<Record<string, unknown>> }
  | { readonly kind: 'failed'; readonly error: string; readonly permanent: boolean };

/** What a guest may ask of the world around it. */
export interface Surroundings {
  readonly now: Instant;
  /** The version that the upgrade is on its way to. */
  readonly goal: string;
  later(ms: number, run: () => void): void;
  /** A heartbeat goes out now. */
  speak(guest: Guest): void;
  answer(guest: Guest, attempt: AttemptId, answer: Answer): void;
  peers(): readonly Guest[];
  /** Something happened that no upgrade may do to a cluster. */
  violation(text: string): void;
}

interface GuestOptions {
  readonly id: string;
  readonly name: string;
  readonly version: string;
  readonly role: Role;
  readonly is_broken: boolean;
  readonly lag_bytes: number | null;
  readonly synchronous: boolean;
  readonly placement?: Placement;
  /** Trove's own agent: no journal, no fence, and a report of nothing but its server's health. */
  readonly is_trove?: boolean;
  readonly script: Script;
}

export class Guest {
  readonly id: string;
  readonly name: string;
  readonly endpoint: Endpoint;
  readonly wasBroken: boolean;
  version: string;
  role: Role;
  script: Script;
  lagBytes: number | null;
  hindrance: Hindrance | null = null;
  /** The agent neither hears nor speaks until then; its server goes on as it was. */
  awayUntil: Instant = 0;
  /** Finds itself failed, though its server serves: health that flaps. */
  sickUntil: Instant = 0;
  /** The last position of a primary that was demoted and told nothing since. */
  demotedLsn: string | null = null;
  upstream: Guest | null = null;
  /** What it has found on its server; told with heartbeats only while `tellsFindings`. */
  findings: readonly GuestFinding[] = [];
  tellsFindings = true;
  /** Of a server that it has adopted. */
  adoption: AdoptionReport | null = null;
  /** What it passes on when it is demoted. */
  handover: Readonly<Record<string, unknown>> | null = null;
  /** Attempts that were executed, by their key: none may be twice (G4). */
  readonly executed: string[] = [];
  readonly #synchronous: boolean;
  readonly #placement: Placement | undefined;
  readonly #isTrove: boolean;
  readonly #world: Surroundings;
  #isUp: boolean;
  /** Down, or being restarted, by the upgrade's doing. */
  #downByUpgrade = false;
  #downAt: Instant = 0;
  #upSince: Instant = 0;
  #journal: { readonly report: AttemptReport; readonly fence: Instant } | null = null;
  #writes = 1;
  readonly #queue: (() => void)[] = [];
  #isBusy = false;
  readonly #waiting = new Map<string, number>();
  readonly #struck = new Map<GuestAction, number>();

  constructor(world: Surroundings, options: GuestOptions) {
    this.#world = world;
    this.id = options.id;
    this.name = options.name;
    this.endpoint = { host: `${options.name}.test`, port: 5432 };
    this.version = options.version;
    this.role = options.role;
    this.wasBroken = options.is_broken;
    this.#isUp = !options.is_broken;
    this.lagBytes = options.lag_bytes;
    this.#synchronous = options.synchronous;
    this.#placement = options.placement;
    this.#isTrove = options.is_trove ?? false;
    this.script = options.script;
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** G2 counts these. */
  get isDownByUpgrade(): boolean {
    return this.#downByUpgrade && !this.wasBroken;
  }

  get isBusy(): boolean {
    return this.#isBusy;
  }

  get isAway(): boolean {
    return this.#world.now < this.awayUntil;
  }

  /** Something other than the upgrade starts or stops the server. */
  turn(state: 'up' | 'down'): void {
    this.#isUp = state === 'up';
    if (state === 'up') {
      this.#downByUpgrade = false;
      this.#upSince = this.#world.now;
    } else this.#downAt = this.#world.now;
  }

  report(): GuestReport {
    if (this.#isTrove) return { service_status: this.#isUp ? 'healthy' : 'shutdown', sent: this.#world.now };
    const isCutOff = this.role === 'replica' && !this.#isStreaming(STREAM_GRACE_MS);
    return {
      service_status: !this.#isUp
        ? 'shutdown'
        : isCutOff || this.#world.now < this.sickUntil
          ? 'failed'
          : 'healthy',
      sent: this.#world.now,
      version: this.#isUp ? this.version : null,
      role: this.demotedLsn === null ? this.role : null,
      lag_bytes: this.role === 'replica' && this.#isUp && this.#isStreaming(0) ? this.lagBytes : null,
      ...(this.hindrance !== null && { hindrance: this.hindrance }),
      synchronous: this.#synchronous,
      endpoint: this.endpoint,
      ...(this.#placement && { placement: this.#placement }),
      ...(this.tellsFindings && this.findings.length > 0 && { findings: this.findings }),
      ...(this.adoption && { adoption: this.adoption, upstream: this.upstream?.endpoint ?? null }),
      attempt: this.#journal?.report ?? null,
    };
  }

  #isStreaming(grace_ms: number): boolean {
    if (!this.upstream || this.upstream.isUp) return true;
    return this.#world.now - this.upstream.#downAt <= grace_ms && grace_ms > 0;
  }

  /** A message arrives: as in the real agent, calls share an execution, casts are fenced by the journal. */
  receive(order: Order): void {
    const { action } = order.attempt;
    if (this.#next(action).silent) {
      this.#strike(action);
      return;
    }
    const standing = this.#isTrove ? 'new' : this.#compare(order);
    if (action === 'pre_upgrade' || action === 'post_upgrade') {
      if (standing !== 'stale') return this.#call(order);
      const error = 'of an attempt that is over';
      return this.#world.answer(this, order.attempt, { kind: 'failed', error, permanent: false });
    }
    if (standing === 'same') this.#world.speak(this);
    if (standing !== 'new') return;
    if (!this.#isTrove)
      this.#journal = { report: { ...order.attempt, status: 'running' }, fence: order.fence };
    this.#enqueue(() => this.#carryOut(order));
  }

  #compare({ attempt, fence }: Order): 'new' | 'same' | 'stale' {
    if (!this.#journal || fence > this.#journal.fence) return 'new';
    const { report } = this.#journal;
    if (fence < this.#journal.fence || attempt.upgrade_id !== report.upgrade_id) return 'stale';
    const order = attempt.step - report.step || attempt.attempt - report.attempt;
    if (order !== 0) return order > 0 ? 'new' : 'stale';
    return attempt.action === report.action ? 'same' : 'new';
  }

  #call(order: Order): void {
    const key = keyOf(order.attempt);
    const waiting = this.#waiting.get(key);
    this.#waiting.set(key, (waiting ?? 0) + 1);
    if (waiting !== undefined) return;
    this.#enqueue(() => {
      const outcome = this.#strike(order.attempt.action);
      this.#after(outcome.ms ?? USUAL_MS[order.attempt.action], () => {
        const answer = this.#answerTo(order, outcome);
        for (let left = this.#waiting.get(key) ?? 0; left > 0; left--) {
          this.#world.answer(this, order.attempt, answer);
        }
        this.#waiting.delete(key);
        this.#free();
      });
    });
  }

  #answerTo({ attempt, args }: Order, { error, permanent = false }: Outcome): Answer {
    if (error !== undefined) return { kind: 'failed', error, permanent };
    if (attempt.action === 'pre_upgrade' && this.#isTrove)
      return { kind: 'answered', info: { role: 'whatever', device: '/dev/vdb' } };
    if (attempt.action === 'pre_upgrade') {
      const { role, lag_bytes, service_status } = this.report();
      return {
        kind: 'answered',
        info: {
          ...{ reversible: true, role: role ?? null, lag_bytes: lag_bytes ?? null, service_status },
          ...(this.findings.length > 0 && { findings: this.findings }),
        },
      };
    }
    // Trove's has nothing to check.
    if (this.#isTrove) return { kind: 'answered', info: {} };
    if (this.#isUp && this.version === args['datastore_version']) return { kind: 'answered', info: {} };
    return { kind: 'failed', error: `the server runs ${this.version}`, permanent: false };
  }

  #carryOut(order: Order): void {
    const { attempt, fence } = order;
    const key = keyOf(attempt);
    if (this.executed.includes(key)) this.#world.violation(`G4: ${this.name} executes ${key} twice`);
    this.executed.push(key);
    const outcome = this.#strike(attempt.action);
    const isIdle = outcome.does_nothing ?? false;
    const refusal = outcome.error === undefined && !isIdle ? this.#begin(order) : null;
    if (outcome.error !== undefined && attempt.action === 'upgrade' && !isIdle) this.#stop();
    this.#after(outcome.ms ?? USUAL_MS[attempt.action], () => {
      const error = outcome.error ?? refusal;
      if (this.#isTrove && outcome.unheard !== true) {
        const failed = { kind: 'failed', error: error ?? '', permanent: false } as const;
        this.#world.answer(this, attempt, error === null ? { kind: 'answered', info: {} } : failed);
      }
      if (error === null) {
        const result = isIdle ? null : this.#finish(order);
        this.#note({ ...attempt, status: 'succeeded', result }, fence);
      } else if (!isIdle) {
        this.#undo(outcome, attempt.action);
        this.#note({ ...attempt, status: 'failed', error, permanent: outcome.permanent ?? false }, fence);
      }
      this.#world.speak(this);
      this.#free();
    });
  }

  /** The result of an order that was overtaken by a newer one is nobody's news any more. */
  #note(report: AttemptReport, fence: Instant): void {
    const held = this.#journal?.report;
    if (held && keyOf(held) === keyOf(report)) this.#journal = { report, fence };
  }

  /** The part of an action that takes the server out of service; answers why it can't be done. */
  #begin({ attempt, args }: Order): string | null {
    switch (attempt.action) {
      case 'upgrade':
        if (this.demotedLsn !== null && !this.#peerAt(args['primary']))
          return 'demoted, and no primary is named';
        if (this.version === args['datastore_version'] && this.#isUp) return null;
        this.#checkRole();
        this.#stop();
        return null;
      case 'demote':
        if (this.demotedLsn !== null) return null;
        if (this.role !== 'primary' || !this.#isUp) return 'not a primary that serves';
        return this.#beginDemotion();
      case 'follow':
        return this.role === 'primary' ? 'a primary does not follow' : null;
      default:
        return null;
    }
  }

  /** G6: a primary that serves, and has said so for a while, is not taken down while others could lead. */
  #checkRole(): void {
    const wellSince = Math.max(this.sickUntil, this.#upSince);
    const isServing = this.#isUp && this.role === 'primary' && this.#world.now > wellSince + 30_000;
    const hasReplicas = this.#world.peers().some((peer) => peer.isUp && peer.role === 'replica');
    if (isServing && hasReplicas) this.#world.violation(`G6: ${this.name} serves, and is upgraded in place`);
  }

  /** M3, by the truth and not by what was heard of it. A real server also refuses if nobody streams. */
  #beginDemotion(): string | null {
    const standbys = this.#world.peers().filter((peer) => peer.isUp && peer.role === 'replica');
    if (standbys.length === 0) return 'no standby streams from this primary';
    if (standbys.every((peer) => peer.version === this.version && peer.version !== this.#world.goal)) {
      this.#world.violation(`G6: ${this.name} is demoted with nobody upgraded to take over`);
    }
    this.#stop();
    return null;
  }

  #finish({ attempt, args }: Order): Readonly<Record<string, unknown>> | null {
    switch (attempt.action) {
      case 'upgrade':
        if (this.demotedLsn !== null) this.#becomeStandby(this.#peerAt(args['primary']));
        // As the real driver: a standby streams from the primary that it is told of.
        else if (this.role === 'replica') this.upstream = this.#peerAt(args['primary']) ?? this.upstream;
        this.version = String(args['datastore_version']);
        this.turn('up');
        return null;
      case 'demote':
        this.demotedLsn ??= `0/${(this.#writes++).toString(16)}`;
        return { lsn: this.demotedLsn, ...(this.handover && { handover: this.handover }) };
      case 'promote':
        this.#promote(String(args['lsn']));
        return null;
      case 'follow':
        this.upstream = this.#peerAt(args['primary']) ?? null;
        return null;
      default:
        return null;
    }
  }

  #becomeStandby(upstream: Guest | undefined): void {
    this.demotedLsn = null;
    this.role = 'replica';
    this.upstream = upstream ?? null;
    this.lagBytes = 0;
  }

  /** On a demoted primary it undoes the demotion; a standby needs everything that the old primary wrote. */
  #promote(lsn: string): void {
    if (this.demotedLsn !== null) {
      this.demotedLsn = null;
      this.turn('up');
    } else if (this.role === 'replica') {
      const old = this.#world.peers().find((peer) => peer.demotedLsn !== null);
      if (old?.demotedLsn !== lsn)
        this.#world.violation(`G6: ${this.name} takes over at ${lsn}, a write is lost`);
      this.role = 'primary';
      this.upstream = null;
    }
    const serving = this.#world.peers().filter((peer) => peer.isUp && peer.role === 'primary');
    if (serving.length > 1)
      this.#world.violation(`two primaries: ${serving.map(({ name }) => name).join(', ')}`);
  }

  #undo(outcome: Outcome, action: GuestAction): void {
    if (action !== 'upgrade' || this.demotedLsn !== null || outcome.leaves_down) return;
    this.turn(this.wasBroken ? 'down' : 'up');
  }

  #peerAt(endpoint: unknown): Guest | undefined {
    const { host } = (endpoint ?? {}) as Partial<Endpoint>;
    return this.#world.peers().find((peer) => peer !== this && peer.endpoint.host === host);
  }

  #stop(): void {
    if (this.#isUp) this.#downByUpgrade = true;
    this.turn('down');
  }

  #enqueue(work: () => void): void {
    this.#queue.push(work);
    if (!this.#isBusy) this.#free();
  }

  #free(): void {
    const work = this.#queue.shift();
    this.#isBusy = work !== undefined;
    work?.();
  }

  /** Work goes on where it was once the agent is back: the journal knows. */
  #after(ms: number, run: () => void): void {
    this.#world.later(ms, () => {
      if (this.isAway) this.#after(this.awayUntil - this.#world.now, run);
      else run();
    });
  }

  #next(action: GuestAction): Outcome {
    const script = this.script[action] ?? {};
    if (!Array.isArray(script)) return script as Outcome;
    return (script as readonly Outcome[])[this.#struck.get(action) ?? 0] ?? {};
  }

  #strike(action: GuestAction): Outcome {
    const outcome = this.#next(action);
    this.#struck.set(action, (this.#struck.get(action) ?? 0) + 1);
    return outcome;
  }
}

function keyOf({ upgrade_id, step, attempt, action }: AttemptId): string {
  return `${upgrade_id}/${step}/${attempt}/${action}`;
}
