import { guestTopic, noSuchMethod, type Request, type Served } from '../src/bus/bus.ts';
import type { Protection } from '../src/bus/protection.ts';
import { sealedProtection } from '../src/bus/sealed.ts';
import { parseAs } from '../src/contract/explain.ts';
import { GUEST_ARGS } from '../src/contract/rpc.ts';
import {
  type AttemptId,
  type AttemptReport,
  type CallAction,
  GUEST_ACTIONS,
  type GuestAction,
  isCall,
  type UpgradeInfo,
} from '../src/core/domain.ts';
import { CofferError } from '../src/core/errors.ts';
import { textOf } from '../src/log.ts';
import { every, type Service } from '../src/service.ts';
import { NO_TRACING, type Span, type Tracing } from '../src/tracing.ts';
import { PermanentError } from './driver.ts';
import { type HeartbeatDeps, Heartbeats } from './heartbeats.ts';
import type { JournalEntry } from './journal.ts';
import { JournalWriter, type Order } from './journal-writer.ts';
import type { ObserveOrder } from './metrics.ts';
import { answer, attemptIdOf, execute, type Info, keyOf } from './order.ts';

interface AgentDeps extends HeartbeatDeps {
  /** Called after each order, with its outcome and its duration. */
  readonly observe?: ObserveOrder;
  readonly tracing?: Tracing;
}

/** Several calls of one attempt may wait for its single execution. */
const PREFETCH = 100;
/** Work that takes longer than this is reported as accepted, so that the order is not sent again too soon. */
const TELL_AFTER_MS = 250;
const RESTART_MS = 3_000;

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
  readonly #heartbeats: Heartbeats;
  readonly #writer: JournalWriter;
  #served: Served | undefined;
  /** Orders are carried out one after the other; calls of one attempt share one execution. */
  #tail: Promise<unknown> = Promise.resolve();
  readonly #calls = new Map<string, Promise<unknown>>();
  /** Protects all messages to and from this instance; null where nothing is protected. */
  #protection: Protection | null;
  /** Why the server could not be started. */
  #trouble: string | null = null;
  #busyWith: GuestAction | null = null;
  /** The request that is being worked on: orders are carried out one at a time, so there is at most one. */
  #request_id: string | null = null;

  constructor(deps: AgentDeps) {
    this.#deps = deps;
    this.#tracing = deps.tracing ?? NO_TRACING;
    this.#protection = this.#under(deps.config.rpc_key);
    this.name = `agent of ${deps.config.name}`;
    this.#heartbeats = new Heartbeats(deps, (now) => ({
      isUpgrading: this.#busyWith === 'upgrade',
      trouble: this.#trouble,
      fault: this.#writer.fault(now),
      protection: this.#protection,
    }));
    this.#writer = new JournalWriter({
      ...deps,
      instance_id: deps.config.instance_id,
      stopped: this.#stopped.signal,
      tell: () => this.#heartbeat(),
    });
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
    await this.#writer.end();
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
    if (request.method === 'release') return this.#release(request.context.request_id);
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
    return this.#writer.inTurn(() => this.#accept(id, fence, order));
  }

  /**
   * Lets an adopted server go: takes back what was set there. The agent stays, and answers again if its answer
   * got lost.
   */
  async #release(request_id: string): Promise<{ readonly released: true }> {
    const { driver, config, log } = this.#deps;
    if (!config.adopted)
      throw new CofferError(
        'action_refused',
        'this server was built by Coffer, and is deleted, not released',
      );
    await this.#serially(() => this.#onBehalfOf(request_id, () => driver.destroy()));
    const { instance_id } = config;
    log.info({ instance_id, request_id }, 'released: this agent has nothing more to do, and can be stopped');
    return { released: true };
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
    const work = () => this.#answer(action, info);
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
  async #answer(action: CallAction, info: Info): Promise<UpgradeInfo | null> {
    const answered = await answer(this.#deps.driver, action, info);
    if (answered?.findings?.length) await this.#heartbeat();
    return answered;
  }

  /** G4: once this resolves, the order is in the journal, and the message may be acknowledged. */
  async #accept(id: AttemptId, fence: number | null, told: Omit<Order, 'fence' | 'plain'>): Promise<void> {
    const { journal } = this.#deps;
    // The same order again: its sender has missed its result.
    if (this.#refuseStale(id, fence) === 'same') return this.#heartbeat();
    const plain = fence === null ? ({ plain: true } as const) : {};
    const order = { ...told, ...plain, fence: fence ?? journal.entry?.fence ?? 0 };
    try {
      await this.#writer.write({ attempt: { ...id, status: 'running' }, ...order });
    } catch (cause) {
      // The order was not accepted: it is sent again until there is space for it or its sender has given up.
      void this.#heartbeat();
      const message = this.#writer.fault(this.#deps.now()) ?? textOf(cause);
      throw new CofferError('store_unavailable', message, { cause });
    }
    void this.#serially(() => this.#carryOut(id, order));
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
    // G4: a result is reported once it is on disk. If it were reported before, the taskmanager would continue,
    // and a restarted agent would find the order unfinished and carry it out once more.
    await this.#writer.writeResult(report, order);
    await this.#heartbeat();
  }

  async #tryTo(id: AttemptId, info: Info): Promise<AttemptReport> {
    const { driver } = this.#deps;
    try {
      if (id.action === 'demote') await this.#heartbeats.assureHeard(this.#stopped.signal);
      const result = await execute(driver, id.action, info);
      // A fence repairs nothing.
      if (id.action !== 'fence') this.#trouble = null;
      return { ...id, status: 'succeeded', result };
    } catch (err) {
      return { ...id, status: 'failed', error: textOf(err), permanent: err instanceof PermanentError };
    }
  }

  /**
   * The abort comes at the end of the work: the result is reported then, whether or not the work was reported
   * before.
   */
  async #tellIfLong(ended: AbortSignal): Promise<void> {
    await this.#deps.sleep(TELL_AFTER_MS, ended);
    if (!ended.aborted) await this.#heartbeat();
  }

  #heartbeat(): Promise<void> {
    return this.#heartbeats.send();
  }

  #serially<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#tail.then(() => {
      if (this.#stopped.signal.aborted) throw new Error('the guest agent is stopping');
      return work();
    });
    this.#tail = mine.catch((err) => this.#deps.log.debug({ err }, 'an order failed'));
    return mine;
  }
}
