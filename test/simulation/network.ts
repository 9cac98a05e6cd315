import { CofferError } from '../../src/core/errors.ts';
import type { Store } from '../../src/store/store.ts';
import type { Passage } from '../twins/bus.ts';
import type { MemoryStore } from '../twins/store.ts';
import type { Life } from './process.ts';
import type { Random } from './random.ts';
import type { Weather } from './scenario.ts';
import type { Scheduler } from './scheduler.ts';

/** How long a client of the store waits for an answer. */
const COMMAND_TIMEOUT_MS = 2_000;

/** Called around every request that the store carries out, in the same step as the request. */
export interface StoreWatch {
  before(method: string, args: readonly unknown[]): void;
  after(method: string, args: readonly unknown[], result: unknown): void;
}

/** The network between the processes, the broker and the store. */
export class Network {
  weather: Weather;
  storeAwayUntil = 0;
  readonly #random: Random;
  readonly #scheduler: Scheduler;
  readonly #store: MemoryStore;
  readonly #watch: StoreWatch;

  constructor(deps: {
    readonly weather: Weather;
    readonly random: Random;
    readonly scheduler: Scheduler;
    readonly store: MemoryStore;
    readonly watch: StoreWatch;
  }) {
    this.weather = deps.weather;
    this.#random = deps.random;
    this.#scheduler = deps.scheduler;
    this.#store = deps.store;
    this.#watch = deps.watch;
  }

  readonly passage = (passage: Passage): readonly number[] => {
    const { loss, doubled } = this.weather;
    const random = this.#random;
    // A message that a broker delivers can't get lost unless the connection does; that is another fault.
    if (passage !== 'delivery' && random.chance(loss)) return [];
    return passage === 'publish' && random.chance(doubled) ? [this.#delay(), this.#delay()] : [this.#delay()];
  };

  #delay(): number {
    return this.#random.delay(this.weather.usual_ms, this.weather.slowest_ms);
  }

  /** An HTTP request on its way to the API, or its answer on the way back; if it is lost, it never arrives. */
  carry(arrive: () => void): void {
    if (!this.#random.chance(this.weather.loss)) this.#scheduler.after(this.#delay(), arrive);
  }

  /** The store as one life of a process sees it. */
  storeFor(life: Life): Store {
    const parts = new Map<string | symbol, object>();
    for (const [name, part] of Object.entries(this.#store))
      parts.set(name, this.#partFor(life, part as object, `${name}.`));
    const store = this.#partFor<Store>(life, this.#store, '');
    return new Proxy(store, { get: (_target, name) => parts.get(name) ?? Reflect.get(store, name) });
  }

  #partFor<Part extends object>(life: Life, part: Part, prefix: string): Part {
    return new Proxy(part, {
      get: (_target, name) => {
        const method: unknown = Reflect.get(part, name);
        if (typeof method !== 'function' || typeof name !== 'string') return method;
        return (...args: readonly unknown[]) =>
          this.#request(life, `${prefix}${name}`, args, () => method.apply(part, args) as Promise<unknown>);
      },
    });
  }

  #request(
    life: Life,
    name: string,
    args: readonly unknown[],
    carryOut: () => Promise<unknown>,
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (!life.step()) return;
      const fail = (ms: number) =>
        this.#scheduler.after(ms, () => life.step() && reject(unavailable('the store does not answer')));
      this.#scheduler.after(this.#delay(), () => {
        // A request that is under way when its sender dies may arrive or not.
        if (life.isDead && this.#random.chance(0.5)) return;
        if (this.#scheduler.now < this.storeAwayUntil) return void fail(10);
        if (this.#random.chance(this.weather.store_loss)) return void fail(COMMAND_TIMEOUT_MS);
        this.#watch.before(name, args);
        const answered = (deliver: () => void) => {
          if (this.#random.chance(this.weather.store_loss)) fail(COMMAND_TIMEOUT_MS);
          else this.#scheduler.after(this.#delay(), () => life.step() && deliver());
        };
        carryOut().then(
          (result) => {
            this.#watch.after(name, args, result);
            answered(() => resolve(result));
          },
          (err: unknown) => answered(() => reject(err instanceof Error ? err : new Error(String(err)))),
        );
      });
    });
  }
}

function unavailable(message: string): CofferError {
  return new CofferError('store_unavailable', message);
}
