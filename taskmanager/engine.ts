import { type Bus, type Context, guestTopic, RemoteError } from '../src/bus/bus.ts';
import type { Protection } from '../src/bus/protection.ts';
import { PreUpgradeAnswer, TrovePreUpgradeAnswer } from '../src/contract/rpc.ts';
import { type AnsweredAction, type Instant, isAnswered, isCall } from '../src/core/domain.ts';
import { CofferError } from '../src/core/errors.ts';
import { inContext, instanceNotification } from '../src/core/notification.ts';
import type { Effect, Upgrade, UpgradeEventType } from '../src/core/record.ts';
import { advance } from '../src/core/upgrade/advance.ts';
import type { Input, Next } from '../src/core/upgrade/inputs.ts';
import { wakeAt } from '../src/core/upgrade/wake.ts';
import type { Logger } from '../src/log.ts';
import type { Store } from '../src/store/store.ts';
import type { Commit } from '../src/store/upgrades.ts';
import { NO_TRACING, type Tracing } from '../src/tracing.ts';
import type { Keyring } from './keyring.ts';
import { Answers } from './patience.ts';
import { stepSpan, upgradeSpan } from './tracing.ts';
import { Turns } from './turns.ts';

export interface EngineDeps {
  /** Without a keyring, messages to guests are sent unprotected. */
  readonly keyring?: Keyring;
  readonly store: Pick<Store, 'upgrades' | 'due'>;
  readonly bus: Bus;
  readonly log: Logger;
  readonly now: () => Instant;
  readonly tracing?: Tracing;
  /** Called for every change that was committed. */
  readonly observe?: (next: Next, manager: string) => void;
  /** How many orders must wait for an answer before the engine repeats orders less often (see `Answers`). */
  readonly crowd?: number;
  /**
   * Called when an upgrade of that batch has moved. Never rejects: if the call gets lost, the batch becomes
   * due in the store.
   */
  readonly wakeBatch?: (batch_id: string) => void;
}

type MessageEffect = Extract<Effect, { kind: 'call' | 'cast' }>;

/** After these events, the batch that the upgrade belongs to may have something to do. */
const MOVES_BATCH: readonly UpgradeEventType[] = [
  'paused',
  'resumed',
  'succeeded',
  'failed',
  'cancelled',
  'rolled_back',
];

/**
 * Two taskmanagers that work on the same record agree after a try or two. This limit is for a case that
 * should never happen.
 */
const MAX_CONFLICTS = 50;
/**
 * A call is sent again long before this. The engine waits this long only so that a slow answer still reaches
 * it.
 */
const MAX_CALL_MS = 60_000;

/**
 * The shell around the pure core: load, call `advance`, commit record and effects in one atomic step, perform
 * the effects, and only then let the caller acknowledge its message.
 *
 * Holds no upgrade in memory between two inputs: any taskmanager can take any message.
 */
export class Engine {
  readonly #deps: EngineDeps;
  /** Handles the inputs of one upgrade one after the other, so that they do not conflict with each other. */
  readonly #turns = new Turns();
  readonly #answers: Answers;
  readonly #tracing: Tracing;

  constructor(deps: EngineDeps) {
    this.#deps = deps;
    this.#tracing = deps.tracing ?? NO_TRACING;
    this.#answers = new Answers(deps.crowd);
  }

  /**
   * Applies one input to an upgrade. Resolves when the new record is committed and its messages are sent;
   * resolves to `missing` if there is no such upgrade. Rejects with `store_unavailable`: nothing is decided
   * then.
   */
  handle(upgrade_id: string, input: Input): Promise<Next['verdict'] | 'missing'> {
    if (input.type === 'reported' && input.report)
      this.#answers.heard(input.instance_id, input.report, this.#deps.now());
    return this.#turns.run(upgrade_id, () => this.#step(upgrade_id, input));
  }

  async #step(upgrade_id: string, input: Input): Promise<Next['verdict'] | 'missing'> {
    const { store, now } = this.#deps;
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts++) {
      const loaded = await store.upgrades.load(upgrade_id);
      if (!loaded?.cluster) return 'missing';
      const at = now();
      const { upgrade, cluster, versions } = loaded;
      const next = advance(upgrade, input, { cluster, versions, patience: this.#answers.patience }, at);
      const wake_at = wakeAt(next.upgrade, at);
      if (next.verdict === 'refused') throw new CofferError('action_refused', next.reason ?? 'refused');
      if (next.verdict === 'stale') {
        if (input.type === 'wake' && wake_at !== null)
          await store.due.defer({ kind: 'upgrade', id: upgrade_id }, wake_at);
        return 'stale';
      }
      const commit = commitOf(next, loaded.cluster.manager, wake_at, at);
      if ((await this.#commit(commit)) === 'conflict') continue;
      this.#tell(next);
      this.#deps.observe?.(next, loaded.cluster.manager);
      if (commit.moves_batch && next.upgrade.batch) this.#deps.wakeBatch?.(next.upgrade.batch.id);
      await this.#perform(next);
      return 'applied';
    }
    throw new CofferError('store_unavailable', `the record of upgrade ${upgrade_id} keeps changing`);
  }

  /**
   * The span of the commit is part of the span of the message that led to it, or of the upgrade's span if
   * only time led to it.
   */
  #commit(commit: Commit): Promise<'committed' | 'conflict'> {
    const { store } = this.#deps;
    const { id, revision } = commit.upgrade;
    const parent = this.#tracing.current() ?? upgradeSpan(commit.upgrade);
    const attributes = { 'coffer.upgrade_id': id, 'coffer.revision': revision };
    return this.#tracing.span('commit', { parent, attributes }, () => store.upgrades.commit(commit));
  }

  #tell({ upgrade, events }: Next): void {
    const { id: upgrade_id, cluster_id, requested_by } = upgrade;
    for (const { type, message, seq, instance_id } of events) {
      this.#deps.log.info(
        { upgrade_id, cluster_id, instance_id, request_id: requested_by.request_id, seq, event: type },
        message,
      );
    }
  }

  /**
   * A message that cannot be sent now is no failure: the record says that the message is outstanding, and it
   * is sent again when it is due.
   */
  async #perform({ upgrade, effects }: Next): Promise<void> {
    await Promise.all(
      effects.map(async (effect) => {
        if (effect.kind !== 'call' && effect.kind !== 'cast') return;
        this.#answers.sent(effect.instance_id, effect.attempt, this.#deps.now());
        if (effect.kind === 'call') void this.#askTraced(effect, upgrade);
        else await this.#cast(effect, upgrade);
      }),
    );
  }

  async #cast(effect: MessageEffect, upgrade: Upgrade): Promise<void> {
    const { instance_id, attempt, timeout_ms } = effect;
    const args = messageOf(effect, upgrade.created);
    try {
      const protection = await this.#protectionOf(instance_id);
      const trace = stepSpan(upgrade, attempt.step);
      const options = { context: contextOf(effect, upgrade), expires_ms: timeout_ms, protection, trace };
      await this.#deps.bus.cast(guestTopic(instance_id), attempt.action, args, options);
    } catch (err) {
      this.#answers.forget(instance_id);
      const { request_id } = upgrade.requested_by;
      this.#deps.log.debug(
        { err, instance_id, request_id, ...attempt },
        'a cast did not go out; it is said again',
      );
    }
  }

  /** One span covers the question, its answer, and what the answer leads to. */
  #askTraced(effect: MessageEffect, upgrade: Upgrade): Promise<void> {
    const { action, step } = effect.attempt;
    // Null, not undefined: the span that is active here is about something else.
    const parent = stepSpan(upgrade, step) ?? null;
    return this.#tracing.span(action, { parent }, () =>
      this.#hear(questionOf(effect, upgrade), this.#ask(effect, upgrade)),
    );
  }

  /** Handles a guest's answer as an input like any other. Never rejects. */
  async #hear(question: Question, asked: Promise<unknown>): Promise<void> {
    const { attempt, dialect, instance_id, request_id } = question;
    const { upgrade_id, step, attempt: number, action } = attempt;
    if (!isAnswered(action)) return;
    const about = { step, attempt: number, action };
    try {
      const answer = await sparing(question, asked);
      this.#answers.heard(instance_id, attempt, this.#deps.now());
      const info = ANSWERS[dialect].safeParse(answer ?? null);
      const unreadable = 'the guest agent answered in a form that nobody can read';
      if (!info.success) return await this.#callFailed(upgrade_id, about, unreadable, false);
      await this.handle(upgrade_id, { type: 'answered', ...about, info: info.data });
    } catch (err) {
      if (err instanceof RemoteError) {
        await this.#callFailed(upgrade_id, about, err.message, err.remote_class === 'PermanentError');
      } else {
        this.#answers.forget(instance_id);
        this.#deps.log.debug(
          { err, instance_id, request_id, ...attempt },
          'a call stays without an answer; it is said again',
        );
      }
    }
  }

  async #protectionOf(instance_id: string): Promise<Protection | null> {
    return (await this.#deps.keyring?.protectionOf(instance_id)) ?? null;
  }

  /**
   * Resolves to the answer. While it waits, nothing that the question was built from stays in memory:
   * thousands of questions may be outstanding.
   */
  async #ask(effect: MessageEffect, upgrade: Upgrade): Promise<unknown> {
    const { instance_id, attempt } = effect;
    const args = messageOf(effect, upgrade.created);
    const protection = await this.#protectionOf(instance_id);
    const options = { ...waitFor(effect), context: contextOf(effect, upgrade), protection };
    return this.#deps.bus.call(guestTopic(instance_id), attempt.action, args, options);
  }

  async #callFailed(
    upgrade_id: string,
    about: { step: number; attempt: number; action: AnsweredAction },
    error: string,
    permanent: boolean,
  ): Promise<void> {
    try {
      await this.handle(upgrade_id, { type: 'call_failed', ...about, error, permanent });
    } catch (err) {
      this.#deps.log.warn({ err, upgrade_id }, 'a failed call could not be recorded; it is said again');
    }
  }
}

/** The context of a message to a guest: in whose name it is sent, and what it is about. */
function contextOf({ instance_id, attempt }: MessageEffect, upgrade: Upgrade): Context {
  const { requested_by, tenant_id } = upgrade;
  const { user, request_id } = requested_by;
  // As in Trove, the service that carries out a cast is the one that notifies of its end.
  const payload = instanceNotification(upgrade, instance_id, isCall(attempt.action) ? 'api' : 'guest');
  const notification = inContext('DBaaSInstanceUpgrade', payload);
  return { user, request_id, tenant_id, is_admin: true, notification };
}

/**
 * The form of a guest's answer to `pre_upgrade`. The content of a Trove guest's answer matters to that guest
 * only.
 */
const ANSWERS = { coffer: PreUpgradeAnswer, trove: TrovePreUpgradeAnswer };

/**
 * A Trove guest would execute every copy of a message. So the engine waits for its answer for as long as the
 * guest signals that it is at work.
 */
function waitFor({ dialect, timeout_ms }: MessageEffect): { timeout_ms: number; monitor_ms?: number } {
  if (dialect === 'trove') return { timeout_ms, monitor_ms: MAX_CALL_MS };
  return { timeout_ms: Math.min(timeout_ms, MAX_CALL_MS) };
}

/** The part of a question that is kept until the answer arrives. */
interface Question extends Pick<MessageEffect, 'attempt' | 'dialect' | 'instance_id'> {
  readonly request_id: string;
}

function questionOf({ attempt, dialect, instance_id }: MessageEffect, { requested_by }: Upgrade): Question {
  return { attempt, dialect, instance_id, request_id: requested_by.request_id };
}

async function sparing(question: Question, asked: Promise<unknown>): Promise<unknown> {
  try {
    return await asked;
  } catch (err) {
    if (isSpared(question, err)) return null;
    throw err;
  }
}

/** Not every Trove guest knows `post_upgrade`, and Trove's own taskmanager never sends it. */
function isSpared({ dialect, attempt }: Question, err: unknown): boolean {
  const isUnknown = err instanceof RemoteError && err.remote_class === 'NoSuchMethod';
  return isUnknown && dialect === 'trove' && attempt.action === 'post_upgrade';
}

/**
 * The fence sorts the upgrades of a cluster by age: a guest does not execute orders of older upgrades. A
 * Trove guest receives exactly what a Trove taskmanager would send: any other argument would be a TypeError.
 */
function messageOf(effect: MessageEffect, fence: Instant): Readonly<Record<string, unknown>> {
  const { attempt, args, dialect } = effect;
  if (dialect === 'trove') return attempt.action === 'pre_upgrade' ? {} : { upgrade_info: troveInfo(args) };
  const { upgrade_id, step, attempt: number } = attempt;
  return { upgrade_info: { ...args, upgrade_id, step, attempt: number, fence } };
}

/** The guest's answer to `pre_upgrade`, and the version. */
function troveInfo({ primary: _, ...info }: MessageEffect['args']): MessageEffect['args'] {
  return info;
}

function commitOf(
  { upgrade, events, effects }: Next,
  manager: string,
  wake_at: Instant | null,
  now: Instant,
): Commit {
  const release = effects.find((effect) => effect.kind === 'release');
  return {
    upgrade,
    events,
    instance_tasks: effects.filter((effect) => effect.kind === 'instance_task'),
    measured: effects
      .filter((effect) => effect.kind === 'measured')
      .map(({ step, ms }) => ({ manager, step, ms })),
    release: release ?? null,
    moves_batch: events.some(({ type }) => MOVES_BATCH.includes(type)),
    wake_at,
    now,
  };
}
