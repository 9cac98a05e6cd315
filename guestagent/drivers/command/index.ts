import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { UpgradeInfo } from '../../../src/core/domain.ts';
import { textOf } from '../../../src/log.ts';
import { sleep } from '../../../src/service.ts';
import {
  type Driver,
  type DriverDeps,
  type DriverFactory,
  type Health,
  PermanentError,
  type Target,
} from '../../driver.ts';
import { failureOf, hasChangedNothing, healthOf, isDone, reversibleOf } from './answers.ts';
import type { HookName, Hooks } from './hooks-file.ts';
import { endRun, type HookEnd, inheritedEnvironment, runHook } from './run-hook.ts';
import { arrivedAt, loadState, type State, saveState, wayTo } from './state.ts';

/**
 * Upgrades any datastore with commands that its operator has put on this host: `hooks-file.ts` which commands
 * · `run-hook.ts` one run of one command · `answers.ts` what they report · `state.ts` what must survive a
 * crash.
 *
 * Its rules:
 *
 * - C1 Nothing that came over the bus is executed: commands come from the hooks file alone, and the values
 *   from the bus are passed in environment variables.
 * - C2 Two hooks of one instance never change it at the same time, not even after the agent was killed.
 * - C3 What a hook is to do is on disk before it starts; whether it has done so is on disk before the order
 *   is answered.
 * - C4 An `upgrade` that fails is followed by `rollback`, so that the instance serves as before.
 *
 * The server belongs to its operator: the agent starts and stops it only through hooks.
 */
export function commandDriver(hooks: Hooks): DriverFactory {
  return (deps) => new CommandDriver(hooks, deps);
}

/** A heartbeat does not wait for a slow `health` hook: it reports the last result. */
const ANSWER_WITHIN_MS = 1_000;
const NOT_ASKED_YET: Health = {
  service_status: 'unknown',
  role: 'member',
  message: 'the health hook has not answered yet',
};

class CommandDriver implements Driver {
  readonly #hooks: Hooks;
  readonly #deps: DriverDeps;
  /** Belongs to the hooks, which may keep here what they need later. */
  readonly #hooksDir: string;
  /** Aborted while no hook may run: before the start, and from the stop on. */
  #halt = new AbortController();
  /** Counts the orders: what `health` found before an order is out of date after it. */
  #era = 0;
  #asking: { readonly era: number; readonly found: Promise<Health> } | null = null;
  #last: Health = NOT_ASKED_YET;

  constructor(hooks: Hooks, deps: DriverDeps) {
    this.#hooks = hooks;
    this.#deps = { ...deps, stateDir: resolve(deps.stateDir) };
    this.#hooksDir = join(this.#deps.stateDir, 'hooks');
    this.#halt.abort(new Error('the guest agent is starting'));
  }

  async start(): Promise<void> {
    await mkdir(this.#hooksDir, { recursive: true, mode: 0o700 });
    const state = await this.#state();
    // C2: a hook of an agent that was killed may still be running.
    if (state.run !== null) await endRun(state.run);
    await endRun(this.#healthRun);
    await this.#save({ ...state, run: null });
    this.#halt = new AbortController();
  }

  async stop(): Promise<void> {
    this.#halt.abort(new Error('the guest agent is stopping'));
    await this.#asking?.found;
  }

  async destroy(): Promise<void> {
    await this.stop();
    await rm(this.#deps.stateDir, { recursive: true, force: true, maxRetries: 5 });
  }

  async preUpgrade({ datastore_version, info }: Target): Promise<UpgradeInfo> {
    const end = await this.#carryOut('pre_upgrade', datastore_version, info);
    const reversible = end?.kind === 'exited' ? reversibleOf(end.stdout) : undefined;
    const canGoBack = this.#hooks.hooks.rollback !== undefined;
    return { reversible: (reversible ?? true) && canGoBack, role: 'member' };
  }

  async upgrade({ datastore_version, info }: Target): Promise<void> {
    const way = wayTo(await this.#state(), datastore_version);
    if (way === null) return;
    if (!this.#hooks.hooks[way])
      throw new PermanentError(`there is no way back: no ${way} hook is configured`);
    const end = await this.#change(way, datastore_version, info);
    if (isDone(end)) return;
    const failure = failureOf(`the ${way} hook`, end);
    throw way === 'rollback' || hasChangedNothing(end) ? failure : await this.#restored(failure, info);
  }

  async postUpgrade({ datastore_version, info }: Target): Promise<void> {
    await this.#carryOut('post_upgrade', datastore_version, info);
    const { service_status, version } = await this.#healthNow();
    if (service_status === 'healthy' && version !== datastore_version) {
      throw new PermanentError(`the health hook says that ${version} runs, and not ${datastore_version}`);
    }
  }

  async health(): Promise<Health> {
    const found = this.#healthNow();
    return Promise.race([found, sleep(ANSWER_WITHIN_MS).then(() => this.#last)]);
  }

  /** C4. Resolves with the error of the order. */
  async #restored(cause: Error, info: UpgradeInfo): Promise<Error> {
    const { version } = await this.#state();
    const outcome = await this.#wayBack(version, info);
    const message = `${cause.message}; ${outcome}`;
    return cause instanceof PermanentError ? new PermanentError(message) : new Error(message);
  }

  /** Resolves with a text for people. */
  async #wayBack(version: string, info: UpgradeInfo): Promise<string> {
    if (!this.#hooks.hooks.rollback) return 'there is no rollback hook: see how it has left the instance';
    const end = await this.#change('rollback', version, info);
    return isDone(end)
      ? `rolled back to ${version}`
      : `and the way back to ${version} fails: ${failureOf('the rollback hook', end).message}`;
  }

  /** Resolves with null where no such hook is configured. Rejects unless the hook succeeds. */
  async #carryOut(
    name: 'pre_upgrade' | 'post_upgrade',
    to: string,
    info: UpgradeInfo,
  ): Promise<HookEnd | null> {
    if (!this.#hooks.hooks[name]) return null;
    const end = await this.#change(name, to, info);
    if (!isDone(end)) throw failureOf(`the ${name} hook`, end);
    return end;
  }

  /**
   * Runs a hook that may change the instance. Rejects if the agent is stopping; then nobody knows how far the
   * hook came.
   */
  async #change(name: Exclude<HookName, 'health'>, to: string, info: UpgradeInfo): Promise<HookEnd> {
    const state = await this.#state();
    // C2: an earlier hook that could not be ended.
    if (state.run !== null) await endRun(state.run);
    const moves = name === 'upgrade' || name === 'rollback';
    const run = `${name}:${randomUUID()}`;
    this.#forgetHealth();
    // C3. If the instance is to return to its present version, the version that it was moving to stays
    // recorded.
    const begun = { ...state, run, moving_to: moves && to !== state.version ? to : state.moving_to };
    await this.#save(begun);
    const from = to === state.version ? (state.moving_to ?? state.version) : state.version;
    const end = await this.#run(name, run, { to, from, info });
    const after = hasChangedNothing(end) ? state : begun;
    await this.#save(isDone(end) && moves ? arrivedAt(begun, to) : { ...after, run: null });
    this.#forgetHealth();
    return end;
  }

  async #run(name: HookName, run: string, told: Told): Promise<HookEnd> {
    const { log } = this.#deps;
    const hook = this.#hooks.hooks[name];
    if (!hook) return { kind: 'not started', reason: 'it is not configured' };
    const began = Date.now();
    const { signal } = this.#halt;
    const end = await runHook({ hook, env: this.#env(name, told), run, dir: this.#hooksDir, signal });
    const level = name === 'health' ? 'debug' : 'info';
    log[level]({ hook: name, duration_ms: Date.now() - began, ...end }, `hook ${name}: ${end.kind}`);
    return end;
  }

  /** C1: everything from the bus that a hook is given. */
  #env(name: HookName, { to, from, info }: Told): Readonly<Record<string, string>> {
    const { config } = this.#deps;
    const { upgrade_id, attempt } = info;
    const env = {
      ...inheritedEnvironment(),
      ...this.#hooks.environment,
      COFFER_HOOK: name,
      COFFER_DATASTORE_VERSION: to,
      COFFER_FROM_VERSION: from,
      COFFER_UPGRADE_ID: textOrNone(upgrade_id),
      COFFER_ATTEMPT: textOrNone(attempt),
      COFFER_MANAGER: config.manager,
      COFFER_CLUSTER_ID: config.cluster_id,
      COFFER_INSTANCE_ID: config.instance_id,
      COFFER_INSTANCE_NAME: config.name,
      COFFER_INSTANCE_NUMBER: String(config.ordinal),
      COFFER_HOST: config.endpoint.host,
      COFFER_PORT: String(config.endpoint.port),
      COFFER_STATE_DIR: this.#hooksDir,
    };
    return Object.fromEntries(
      Object.entries(env).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])),
    );
  }

  /**
   * What the hook finds now. Callers share a run that is under way, unless an order has begun or ended since.
   */
  #healthNow(): Promise<Health> {
    const era = this.#era;
    if (this.#asking?.era === era) return this.#asking.found;
    const found = this.#askHealth(era);
    this.#asking = { era, found };
    return found.finally(() => {
      if (this.#asking?.found === found) this.#asking = null;
    });
  }

  /** Never rejects. */
  async #askHealth(era: number): Promise<Health> {
    const { version, moving_to } = await this.#state();
    // Between two versions, only the hook knows which one runs.
    const supposed = moving_to === null ? version : null;
    try {
      const end = await this.#run('health', this.#healthRun, { to: version, from: version, info: {} });
      if (era !== this.#era) return NOT_ASKED_YET;
      this.#last = { ...healthOf(end, supposed), endpoint: this.#deps.config.endpoint };
      return this.#last;
    } catch (error) {
      return { service_status: 'unknown', version: null, role: 'member', message: textOf(error) };
    }
  }

  #forgetHealth(): void {
    this.#era += 1;
    this.#last = NOT_ASKED_YET;
  }

  get #healthRun(): string {
    return `health:${this.#deps.config.instance_id}`;
  }

  async #state(): Promise<State> {
    const version = this.#deps.config.datastore_version;
    return (await loadState(this.#deps.stateDir)) ?? { version, came_from: [], moving_to: null, run: null };
  }

  async #save(state: State): Promise<State> {
    await saveState(this.#deps.stateDir, state);
    return state;
  }
}

/** What a hook is told. */
interface Told {
  readonly to: string;
  readonly from: string;
  readonly info: UpgradeInfo;
}

function textOrNone(value: unknown): string | undefined {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
}
