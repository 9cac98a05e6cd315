import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SimulatedProperties } from '../../src/contract/simulated.ts';
import type { GuestAction, UpgradeInfo } from '../../src/core/domain.ts';
import { readJsonIfThere } from '../../src/files.ts';
import { sleep } from '../../src/service.ts';
import { type Driver, type DriverDeps, type Health, PermanentError, type Target } from '../driver.ts';

interface State {
  readonly version: string;
  /** How often each fault of `extended_properties` has already occurred, by the fault's name. */
  readonly struck: Readonly<Record<string, number>>;
}

type SimulatedAction = 'pre_upgrade' | 'upgrade' | 'post_upgrade';

/**
 * A server that does no work: its durations and faults come from the cluster's `extended_properties`. For
 * trying out the control plane, and for tests and benchmarks of it.
 */
export const simulatedDriver = (deps: DriverDeps): Driver => new SimulatedDriver(deps);

class SimulatedDriver implements Driver {
  readonly #deps: DriverDeps;
  readonly #properties: SimulatedProperties;
  readonly #path: string;
  #state: State;
  #isUp = false;
  /** Aborted when the agent stops. */
  readonly #halt = new AbortController();

  constructor(deps: DriverDeps) {
    this.#deps = deps;
    this.#properties = SimulatedProperties.parse(deps.config.extended_properties['simulated'] ?? {});
    this.#path = join(deps.stateDir, 'state.json');
    this.#state = { version: deps.config.datastore_version, struck: {} };
  }

  async start(): Promise<void> {
    await mkdir(this.#deps.stateDir, { recursive: true });
    const kept = await readJsonIfThere<State>(this.#path);
    if (kept) this.#state = kept;
    else await this.#save(this.#state);
    this.#isUp = true;
  }

  async stop(): Promise<void> {
    this.#halt.abort(new Error('the guest agent is stopping'));
    this.#isUp = false;
  }

  async destroy(): Promise<void> {
    await this.stop();
    await rm(this.#deps.stateDir, { recursive: true, force: true, maxRetries: 5 });
  }

  async health(): Promise<Health> {
    return {
      service_status: this.#isUp ? 'healthy' : 'shutdown',
      version: this.#state.version,
      role: 'member',
      lag_bytes: null,
      endpoint: null,
    };
  }

  async preUpgrade(target: Target): Promise<UpgradeInfo> {
    await this.#act('pre_upgrade', this.#properties.pre_upgrade_ms);
    return {
      reversible: true,
      role: 'member',
      ...(target.datastore_version === '' && { version: this.#state.version }),
    };
  }

  async upgrade({ datastore_version }: Target): Promise<void> {
    if (datastore_version === this.#state.version) return;
    this.#isUp = false;
    try {
      await this.#act('upgrade', this.#properties.upgrade_ms);
      await this.#save({ ...this.#state, version: datastore_version });
    } finally {
      this.#isUp = !this.#halt.signal.aborted;
    }
  }

  async postUpgrade({ datastore_version }: Target): Promise<void> {
    const { version } = this.#state;
    if (datastore_version !== '' && datastore_version !== version) {
      throw new Error(`the server runs ${version}, not ${datastore_version}`);
    }
    await this.#act('post_upgrade', this.#properties.post_upgrade_ms);
  }

  hears(action: GuestAction): boolean {
    const fault = this.#properties.silent?.find((each) => this.#isMine(each, action));
    return !fault || !this.#strike(`silent/${action}`, fault.times);
  }

  async #act(action: SimulatedAction, duration_ms = 0): Promise<void> {
    if (duration_ms > 0) await sleep(duration_ms, this.#halt.signal);
    this.#halt.signal.throwIfAborted();
    const fault = this.#properties.fail?.find((each) => this.#isMine(each, action));
    if (!fault || !this.#strike(`fail/${action}`, fault.times)) return;
    await this.#save(this.#state);
    const message = fault.error ?? `simulated failure of ${action}`;
    throw fault.permanent ? new PermanentError(message) : new Error(message);
  }

  #isMine(fault: { readonly instance: number; readonly action: string }, action: GuestAction): boolean {
    return fault.instance === this.#deps.config.ordinal && fault.action === action;
  }

  /** True while the fault has not occurred as often as it should. */
  #strike(name: string, times: number): boolean {
    const struck = this.#state.struck[name] ?? 0;
    if (struck >= times) return false;
    this.#state = { ...this.#state, struck: { ...this.#state.struck, [name]: struck + 1 } };
    return true;
  }

  async #save(state: State): Promise<void> {
    await writeFile(`${this.#path}.new`, JSON.stringify(state));
    await rename(`${this.#path}.new`, this.#path);
    this.#state = state;
  }
}
