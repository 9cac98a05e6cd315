import {
  type Bus,
  CONDUCTOR_TOPIC,
  guestTopic,
  noSuchMethod,
  type Request,
  type Served,
} from '../src/bus/bus.ts';
import type { Protection } from '../src/bus/protection.ts';
import { sealedProtection } from '../src/bus/sealed.ts';
import { parseAs } from '../src/contract/explain.ts';
import { GUEST_ARGS, heartbeatArgs } from '../src/contract/rpc.ts';
import {
  type AttemptId,
  type AttemptReport,
  type CallAction,
  type Endpoint,
  GUEST_ACTIONS,
  type GuestAction,
  type Instant,
  isCall,
  type UpgradeInfo,
} from '../src/core/domain.ts';
import { CofferError } from '../src/core/errors.ts';
import type { Logger } from '../src/log.ts';
import { every, type Service, type Sleep } from '../src/service.ts';
import { NO_TRACING, type Span, type Tracing } from '../src/tracing.ts';
import { type Driver, type Health, type InstanceConfig, PermanentError, type Target } from './driver.ts';
import type { Journal, JournalEntry } from './journal.ts';
import type { ObserveOrder } from './metrics.ts';

export interface AgentDeps {
  readonly config: InstanceConfig;
  readonly driver: Driver;
  readonly journal: Journal;
  readonly bus: Bus;
  readonly log: Logger;
  readonly now: () => Instant;
  readonly sleep: Sleep;
  /** The time between two heartbeats; news is sent immediately. */
  readonly heartbeat_ms: () => number;
  /** Called after each order, with its outcome and its duration. */
  readonly observe?: ObserveOrder;
  readonly tracing?: Tracing;
}

/** The fields that a message may have, whichever its action is. */
type Info = Readonly<Record<string, unknown>> & {
  readonly datastore_version?: string;
  readonly primary?: Endpoint | null;
  readonly handover?: Readonly<Record<string, unknown>>;
};

/**
 * An order as it was received: the entry of the journal without its progress and without what came before.
 */
type Order = Omit<JournalEntry, 'attempt' | 'past' | 'fenced'>;

const AGENT = 'coffer/0.1';
/** The identity under which the agent sends its reports. */
const AS_GUEST = { tenant_id: null, user: null, is_admin: true };
/** Several calls of one attempt may wait for its single execution. */
const PREFETCH = 100;
/** Work that takes longer than this is reported as accepted, so that the order is not sent again too soon. */
const TELL_AFTER_MS = 250;
const RESTART_MS = 3_000;
/**
 * An agent that sends heartbeats less often than this says so in them; otherwise it would be considered away.
 */
const OFTEN_MS = 5_000;
/** An agent that has just started needs a moment to connect. */
const HEARD_TRIES = 4;
const HEARD_PAUSE_MS = 500;
/**
 * A result that could not be written to the journal is written again after this time, then at growing
 * intervals.
 */
const REWRITE_MS = 250;
const REWRITE_MAX_MS = 5_000;
/**
 * How long a failed write of the journal is reported: an order that waits for the journal is repeated sooner.
 */
const FAULT_COUNTS_MS = 15_000;

/**
 * One instance's agent: takes orders from the bus one at a time, lets the driver carry them out, and reports
 * in heartbeats the state of its server and the outcome of the last attempt.
 */
export class Agent implements Service {
  readonly name: string;
  readonly #deps: AgentDeps;
  readonly #tracing: Tracing;
  readonly #stopped = new AbortController();
  readonly #parts: Service[] = [];
  #served: Served | undefined;
  /** Orders are carried out one after the other; calls of one attempt share one execution. */
  #tail: Promise<unknown> = Promise.resolve();
  #journalTail: Promise<unknown> = Promise.resolve();
  readonly #calls = new Map<string, Promise<unknown>>();
  /** Protects all messages to and from this instance; null where nothing is protected. */
  #protection: Protection | null;
  /** Why the server could not be started. */
  #trouble: string | null = null;
  /** Why the journal could not be written, and when that was found. */
  #journalFault: { readonly message: string; readonly at: Instant } | null = null;
  /** Writes a result that is not in the journal yet, again and again until it is. */
  #unwritten: Promise<void> = Promise.resolve();
  #busyWith: GuestAction | null = null;
  /** The request that is being worked on: orders are carried out one at a time, so there is at most one. */
  #request_id: string | null = null;

  constructor(deps: AgentDeps) {
    this.#deps = deps;
    this.#tracing = deps.tracing ?? NO_TRACING;
    this.#protection = this.#under(deps.config.rpc_key);
    this.name = `agent of ${deps.config.name}`;
  }

  /** The id of the request that the agent is working on; null when it is idle. */
  get request_id(): string | null {
    return this.#request_id;
  }

  /**
   * Begins to serve and to send heartbeats immediately. The server is started meanwhile, which may take long.
   */
  async start(): Promise<void> {
    const { bus, config, heartbeat_ms, journal } = this.#deps;
    const { entry } = journal;
    void this.#serially(() => this.#bringUp(entry));
    this.#served = await bus.serve({
      topic: guestTopic(config.instance_id),
      server: config.instance_id,
      installation: config.installation,
      queue: 'own',
      prefetch: PREFETCH,
      guard: async () => this.#protection,
      handler: (request) => this.#handle(request),
    });
    this.#parts.push(every(`heartbeat of ${config.name}`, heartbeat_ms, this.#deps, () => this.#heartbeat()));
  }

  /** Uses another key from now on. */
  rekey(rpc_key: string | undefined): void {
    this.#protection = this.#under(rpc_key);
  }

  #under(secret: string | undefined): Protection | null {
    const { config, now } = this.#deps;
    return secret === undefined ? null : sealedProtection({ instance_id: config.instance_id, secret, now });
  }

  /** Finishes the present order, then stops the server. An order that has not begun stays in the journal. */
  stop(): Promise<void> {
    return this.#withdraw(() => this.#deps.driver.stop());
  }

  /** Removes the instance from this host. */
  destroy(): Promise<void> {
    return this.#withdraw(() => this.#deps.driver.destroy());
  }

  /** The driver is told immediately: it may be waiting for something, e.g. a replica for its primary. */
  async #withdraw(endDriver: () => Promise<void>): Promise<void> {
    this.#stopped.abort();
    const parts = [this.#served, ...this.#parts].map((part) => part?.stop());
    await Promise.all([endDriver(), ...parts]);
    await this.#tail;
    await this.#unwritten;
  }

  /**
   * Starts the server in the state that its disk demands, then finishes what a predecessor left unfinished:
   * `entry` is the journal as it was found. An order that arrives meanwhile is carried out afterwards, once
   * (G4).
   */
  async #bringUp(entry: JournalEntry | null): Promise<void> {
    const { log, config } = this.#deps;
    await this.#startServer();
    if (this.#trouble !== null) void this.#goOnStarting();
    if (entry?.attempt.status === 'running' && !this.#stopped.signal.aborted) {
      const { attempt, ...order } = entry;
      const about = { instance_id: config.instance_id, request_id: order.request_id, ...attempt };
      log.info(about, 'taking up the attempt that was cut off');
      await this.#carryOut(attempt, order);
    } else {
      await this.#heartbeat();
    }
  }

  /** Never rejects. */
  async #startServer(): Promise<void> {
    const { driver, log, config } = this.#deps;
    try {
      await driver.start();
      this.#trouble = null;
    } catch (err) {
      this.#trouble = textOf(err);
      log.error({ err, instance_id: config.instance_id }, 'the server could not be brought up; trying again');
    }
  }

  /**
   * Between the tries, orders are carried out: an upgrade may be what repairs a server that does not start.
   */
  async #goOnStarting(): Promise<void> {
    const { signal } = this.#stopped;
    while (this.#trouble !== null && !signal.aborted) {
      await this.#heartbeat();
      await this.#deps.sleep(RESTART_MS, signal);
      if (this.#trouble !== null) await this.#serially(() => this.#startServer()).catch(() => undefined);
    }
    await this.#heartbeat();
  }

  async #handle(request: Request): Promise<unknown> {
    const action = GUEST_ACTIONS.find((each) => each === request.method);
    if (!action) throw noSuchMethod(request.method);
    const args = parseAs(GUEST_ARGS[action], request.args, action);
    const info = (args.upgrade_info ?? {}) as Info;
    const id = attemptIdOf(info, action, request);
    const fence = typeof info['fence'] === 'number' ? info['fence'] : null;
    if (this.#deps.driver.hears?.(action) === false)
      return this.#deps.sleep(2 ** 31 - 1, this.#stopped.signal);
    const { request_id } = request.context;
    if (isCall(action)) {
      this.#refuseStale(id, fence);
      return this.#call(action, id, { info, request_id });
    }
    const trace = this.#tracing.current();
    const order = { info, request_id, ...(trace !== undefined && { trace }) };
    return this.#inJournal(() => this.#accept(id, fence, order));
  }

  #refuseStale(id: AttemptId, fence: number | null): 'new' | 'same' {
    const standing = this.#deps.journal.compare(id, fence);
    if (standing !== 'stale') return standing;
    // A redelivery of an order that was carried out long ago: nothing is wrong with it.
    if (fence === null) return 'same';
    throw new CofferError('conflict', `${id.action} of an attempt that is over: ${keyOf(id)}`);
  }

  /** A call's answer is its result: nothing has to be kept on disk, as both calls may be repeated. */
  #call(
    action: CallAction,
    id: AttemptId,
    { info, request_id }: Pick<Order, 'info' | 'request_id'>,
  ): Promise<unknown> {
    const key = keyOf(id);
    const running = this.#calls.get(key);
    if (running) return running;
    const { driver } = this.#deps;
    const target = { ...targetOf(info), info };
    const work = (): Promise<unknown> =>
      action === 'pre_upgrade' ? this.#makeReady(target) : driver.postUpgrade(target);
    const call = this.#serially(() => this.#onBehalfOf(request_id, work));
    this.#calls.set(key, call);
    const forget = () => this.#calls.delete(key);
    call.then(forget, forget);
    return call;
  }

  /**
   * Sends the findings before the call is answered, so that they are in the record by then: a gate may have
   * to hold the step back.
   */
  async #makeReady(target: Target): Promise<UpgradeInfo> {
    const info = await this.#deps.driver.preUpgrade(target);
    if (info.findings?.length) await this.#heartbeat();
    return info;
  }

  /** G4: once this resolves, the order is in the journal, and the message may be acknowledged. */
  async #accept(id: AttemptId, fence: number | null, told: Omit<Order, 'fence' | 'plain'>): Promise<void> {
    const { journal } = this.#deps;
    // The same order again: its sender has missed its result.
    if (this.#refuseStale(id, fence) === 'same') return this.#heartbeat();
    const plain = fence === null ? ({ plain: true } as const) : {};
    const order = { ...told, ...plain, fence: fence ?? journal.entry?.fence ?? 0 };
    try {
      await this.#write({ attempt: { ...id, status: 'running' }, ...order });
    } catch (cause) {
      // The order was not accepted: it is sent again until there is space for it or its sender has given up.
      void this.#heartbeat();
      throw new CofferError('store_unavailable', this.#journalFault?.message ?? textOf(cause), { cause });
    }
    void this.#serially(() => this.#carryOut(id, order));
  }

  async #write(entry: JournalEntry): Promise<void> {
    const { journal, log, config, now } = this.#deps;
    try {
      await journal.write(entry);
      this.#journalFault = null;
    } catch (err) {
      const { instance_id } = config;
      if (!this.#journalFault) log.error({ err, instance_id }, 'the journal cannot be written; trying again');
      const message = `the journal of its guest agent cannot be written (${textOf(err)}): it takes no order, and tells no result, until it can`;
      this.#journalFault = { message, at: now() };
      throw err;
    }
  }

  /**
   * A newer order may have arrived while this one waited for its turn: then nobody needs this one any more.
   */
  async #carryOut(id: AttemptId, order: Order): Promise<void> {
    if (!this.#deps.journal.holds(id)) return;
    const { instance_id } = this.#deps.config;
    const attributes = { 'coffer.upgrade_id': id.upgrade_id, 'coffer.instance_id': instance_id };
    const about = {
      parent: order.trace ?? null,
      attributes: { ...attributes, 'coffer.attempt': id.attempt },
    };
    const work = (span: Span | null) => this.#perform(id, order, span);
    await this.#onBehalfOf(order.request_id, () => this.#tracing.span(`execute ${id.action}`, about, work));
  }

  async #onBehalfOf<T>(request_id: string, work: () => Promise<T>): Promise<T> {
    this.#request_id = request_id;
    try {
      return await work();
    } finally {
      this.#request_id = null;
    }
  }

  async #perform(id: AttemptId, order: Order, span: Span | null): Promise<void> {
    const { log, config, now, observe } = this.#deps;
    const { info, request_id } = order;
    const about = { instance_id: config.instance_id, request_id, ...id };
    const ended = new AbortController();
    void this.#tellIfLong(ended.signal);
    this.#busyWith = id.action;
    const begun = now();
    const report = await this.#tryTo(id, info);
    ended.abort();
    this.#busyWith = null;
    observe?.(report, now() - begun);
    if (report.status === 'failed') span?.fail(report.error ?? 'failed');
    if (report.status === 'succeeded') log.info(about, `${id.action} done`);
    else log.warn({ ...about, reason: report.error }, `${id.action} failed`);
    // Cut off because this agent stops, the order has not failed: the next agent will resume it.
    if (report.status === 'failed' && this.#stopped.signal.aborted) return;
    if (!(await this.#noteResult(report, order))) this.#unwritten = this.#goOnNoting(report, order);
    await this.#heartbeat();
  }

  /**
   * G4: a result is reported once it is on disk. If it were reported before, the taskmanager would continue,
   * and a restarted agent would find the order unfinished and carry it out once more. Resolves with false if
   * the result could not be written.
   */
  #noteResult(report: AttemptReport, order: Order): Promise<boolean> {
    return this.#inJournal(async () => {
      if (!this.#deps.journal.holds(report)) return true;
      return this.#write({ attempt: report, ...order }).then(
        () => true,
        () => false,
      );
    });
  }

  /** Runs in parallel with other work: a full disk must not prevent a start of the server. Never rejects. */
  async #goOnNoting(report: AttemptReport, order: Order): Promise<void> {
    const { signal } = this.#stopped;
    let isWritten = false;
    for (let pause_ms = REWRITE_MS; !isWritten; pause_ms = Math.min(2 * pause_ms, REWRITE_MAX_MS)) {
      await this.#deps.sleep(pause_ms, signal);
      if (signal.aborted) return;
      isWritten = await this.#noteResult(report, order);
      await this.#heartbeat();
    }
  }

  async #tryTo(id: AttemptId, info: Info): Promise<AttemptReport> {
    try {
      const result = await this.#execute(id.action, info);
      // A fence repairs nothing.
      if (id.action !== 'fence') this.#trouble = null;
      return { ...id, status: 'succeeded', result };
    } catch (err) {
      return { ...id, status: 'failed', error: textOf(err), permanent: err instanceof PermanentError };
    }
  }

  /**
   * Comparing with the journal and writing it happen one at a time: copies of an order that arrive together
   * are one order.
   */
  #inJournal<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#journalTail.then(work);
    this.#journalTail = mine.catch(() => undefined);
    return mine;
  }

  /**
   * The abort comes at the end of the work: the result is reported then, whether or not the work was reported
   * before.
   */
  async #tellIfLong(ended: AbortSignal): Promise<void> {
    await this.#deps.sleep(TELL_AFTER_MS, ended);
    if (!ended.aborted) await this.#heartbeat();
  }

  async #execute(action: GuestAction, info: Info): Promise<Readonly<Record<string, unknown>> | null> {
    const { driver } = this.#deps;
    switch (action) {
      case 'upgrade':
        await driver.upgrade({ ...targetOf(info), info });
        return null;
      case 'demote':
        await this.#assureHeard();
        return driver.demote({ successor: typeof info['successor'] === 'string' ? info['successor'] : null });
      case 'promote':
        await driver.promote({ lsn: String(info['lsn']), ...(info.handover && { handover: info.handover }) });
        return null;
      case 'follow':
        await driver.follow({ primary: info.primary ?? this.#noPrimary() });
        return null;
      case 'fence':
      case 'pre_upgrade':
      case 'post_upgrade':
        return null;
      default:
        return action satisfies never;
    }
  }

  /**
   * Between a primary's stop and its successor's promotion nobody can write, and both are messages: without
   * RabbitMQ that time would not end. So the primary stops only when RabbitMQ can take the report of its
   * stop; otherwise the order fails, and the primary keeps serving.
   */
  async #assureHeard(): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#speak();
      } catch (cause) {
        const message =
          'RabbitMQ takes no message now: the primary goes on serving, as nobody would hear of its stop';
        if (tries === HEARD_TRIES || this.#stopped.signal.aborted) throw new Error(message, { cause });
        await this.#deps.sleep(HEARD_PAUSE_MS, this.#stopped.signal);
      }
    }
  }

  #noPrimary(): never {
    throw new PermanentError('told to follow nobody');
  }

  #serially<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#tail.then(() => {
      if (this.#stopped.signal.aborted) throw new Error('the guest agent is stopping');
      return work();
    });
    this.#tail = mine.catch((err) => this.#deps.log.debug({ err }, 'an order failed'));
    return mine;
  }

  /** Never rejects: the next heartbeat makes up for one that could not be sent. */
  async #heartbeat(): Promise<void> {
    const { config, log } = this.#deps;
    try {
      await this.#speak();
    } catch (err) {
      log.debug({ err, instance_id: config.instance_id }, 'a heartbeat did not get out');
    }
  }

  #messageOf({ message }: Health, now: Instant): { readonly message?: string } {
    const fault = this.#journalFault;
    if (!fault || now - fault.at >= FAULT_COUNTS_MS) return {};
    return { message: message ? `${message}; ${fault.message}` : fault.message };
  }

  /** Resolves when RabbitMQ has the heartbeat. */
  async #speak(): Promise<void> {
    const { bus, config, driver, heartbeat_ms, journal, now } = this.#deps;
    const period_ms = heartbeat_ms();
    const sent = now();
    const health = await driver.health();
    const isUpgrading = this.#busyWith === 'upgrade' && health.service_status !== 'healthy';
    const report = {
      ...health,
      sent,
      ...(isUpgrading && { service_status: 'upgrading' as const }),
      ...this.#messageOf(health, sent),
      ...(this.#trouble !== null && { service_status: 'failed' as const, message: this.#trouble }),
      attempt: journal.entry?.attempt ?? null,
      ...(period_ms > OFTEN_MS && { heartbeat_ms: Math.ceil(period_ms) }),
      agent: AGENT,
    };
    const args = heartbeatArgs(config.instance_id, report);
    // Until the next order, the heartbeat reports on the last one.
    const request_id = journal.entry?.request_id;
    const context = request_id === undefined ? {} : { context: { ...AS_GUEST, request_id } };
    const { installation } = this.#deps.config;
    await bus.cast(CONDUCTOR_TOPIC, 'heartbeat', args, {
      ...context,
      installation,
      protection: this.#protection,
    });
  }
}

/**
 * A message of a plain Trove taskmanager names no attempt: each message is its own attempt, and a redelivery
 * is the same one.
 */
function attemptIdOf(info: Info, action: GuestAction, request: Request): AttemptId {
  const { upgrade_id, step, attempt } = info;
  if (typeof upgrade_id === 'string' && typeof step === 'number' && typeof attempt === 'number') {
    return { upgrade_id, step, attempt, action };
  }
  return { upgrade_id: request.unique_id, step: 0, attempt: 1, action };
}

function targetOf(info: Info) {
  return { datastore_version: info.datastore_version ?? '', primary: info.primary ?? null };
}

function keyOf({ upgrade_id, step, attempt, action }: AttemptId): string {
  return `${upgrade_id}/${step}/${attempt}/${action}`;
}

function textOf(err: unknown): string {
  return err instanceof Error ? err.message : String(err);
}
