import type { Bus } from '../../src/bus/bus.ts';
import type { Sleep } from '../../src/service.ts';
import type { MemoryBus } from '../twins/bus.ts';
import type { Scheduler } from './scheduler.ts';

/**
 * One life of a process, from its start to its kill. Every promise that its code awaits goes through here.
 * Once the process is dead, none of them ever settles, and so its code ends at the await where it stood.
 */
export class Life {
  readonly name: string;
  readonly #scheduler: Scheduler;
  readonly #dying: Set<() => void> = new Set();
  /** The number of steps until the process is killed, at whatever await it then stands. */
  #fuse = Number.POSITIVE_INFINITY;
  readonly #onFuse: () => void;
  #isDead = false;

  constructor(name: string, scheduler: Scheduler, onFuse: () => void) {
    this.name = name;
    this.#scheduler = scheduler;
    this.#onFuse = onFuse;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  light(fuse: number): void {
    this.#fuse = fuse;
  }

  /** The code sends a request, or is about to receive an answer. False if the process is dead. */
  step(): boolean {
    if (this.#isDead) return false;
    this.#fuse -= 1;
    if (this.#fuse <= 0) this.#onFuse();
    return !this.#isDead;
  }

  /** Registers a function that is called on death; returns the function that cancels this. */
  onDeath(run: () => void): () => void {
    this.#dying.add(run);
    return () => this.#dying.delete(run);
  }

  end(): void {
    this.#isDead = true;
    for (const run of this.#dying) run();
    this.#dying.clear();
  }

  readonly sleep: Sleep = (ms, signal) =>
    new Promise((resolve) => {
      if (!this.step()) return;
      if (signal?.aborted) return resolve();
      const done = () => {
        callOff();
        signal?.removeEventListener('abort', done);
        if (this.step()) resolve();
      };
      const callOff = this.#scheduler.after(ms, done);
      signal?.addEventListener('abort', done);
    });

  /** Passes on the promise of another part as long as this process lives. */
  guard<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      promise.then(
        (value) => this.step() && resolve(value),
        (err: unknown) => this.step() && reject(err instanceof Error ? err : new Error(String(err))),
      );
    });
  }

  /** The bus as this life sees it. */
  busOn(bus: MemoryBus): Bus {
    this.onDeath(() => bus.sever());
    return {
      cast: (...args) => (this.step() ? this.guard(bus.cast(...args)) : never()),
      call: (...args) => (this.step() ? this.guard(bus.call(...args)) : never()),
      serve: (options) => (this.step() ? this.guard(bus.serve(options)) : never()),
      notify: (notification) => (this.step() ? this.guard(bus.notify(notification)) : never()),
      isConnected: () => bus.isConnected(),
      close: () => bus.close(),
    };
  }
}

function never<T>(): Promise<T> {
  return new Promise(() => undefined);
}

/** A process that can be killed at any moment and is started again, with nothing but its disk. */
export class Process {
  readonly name: string;
  readonly #scheduler: Scheduler;
  readonly #boot: (life: Life) => Promise<void>;
  readonly #tell: (text: string) => void;
  #life: Life | null = null;
  #fuse: { readonly steps: number; readonly down_ms: number } | null = null;

  constructor(
    name: string,
    world: { readonly scheduler: Scheduler; tell(text: string): void },
    boot: (life: Life) => Promise<void>,
  ) {
    this.name = name;
    this.#scheduler = world.scheduler;
    this.#tell = (text) => world.tell(text);
    this.#boot = boot;
  }

  get life(): Life | null {
    return this.#life;
  }

  start(): void {
    if (this.#life) return;
    const life = new Life(this.name, this.#scheduler, () => this.kill(this.#fuse?.down_ms ?? 1_000));
    this.#life = life;
    this.#boot(life).catch((err: unknown) => {
      // Like a real process that can't start: its supervisor tries again.
      this.#tell(`${this.name} did not come up: ${String(err)}`);
      this.kill(1_000);
    });
  }

  /** kill -9; a supervisor starts it again after `down_ms`. */
  kill(down_ms: number): void {
    const life = this.#life;
    if (!life) return;
    this.#life = null;
    this.#fuse = null;
    this.#tell(`${this.name} is killed, for ${down_ms} ms`);
    life.end();
    this.#scheduler.after(down_ms, () => {
      this.#tell(`${this.name} starts again`);
      this.start();
    });
  }

  /** The process is not killed any more; it is started if it is down. */
  spare(): void {
    this.#fuse = null;
    this.#life?.light(Number.POSITIVE_INFINITY);
    this.start();
  }

  /** Kills the process after `steps` more steps of its own code: at any await, not only where time passes. */
  killAfter(steps: number, down_ms: number): void {
    this.#fuse = { steps, down_ms };
    this.#life?.light(steps);
  }
}
