import type { Client } from 'pg';
import type { Endpoint } from '../../../src/core/domain.ts';
import { textOf } from '../../../src/log.ts';
import { sleep } from '../../../src/service.ts';
import { PermanentError, type Target } from '../../driver.ts';
import { writeFileAtomic } from '../../files.ts';
import type { Binaries } from './binaries.ts';
import { STREAM_GRACE_MS } from './health.ts';
import type { Instance } from './instance.ts';
import { notStreaming } from './not-streaming.ts';
import { dropIdleSlots, glance, majorOf, untilStreaming } from './replication.ts';
import type { Demoted, Serving, State } from './state.ts';
import { STREAM_MS, type Switchover } from './switchover.ts';

const UPGRADE_START_MS = 180_000;
const DROP_TRIES = 10;
const DROP_AGAIN_MS = 200;

/** Moves the server between versions: stop, swap, start; and back again if the new version does not serve. */
export class Swap {
  readonly #instance: Instance;
  readonly #switchover: Switchover;

  constructor(instance: Instance, switchover: Switchover) {
    this.#instance = instance;
    this.#switchover = switchover;
  }

  checkTarget(target: Target, state: State | null): void {
    const to = target.datastore_version;
    this.#instance.setup.requireKnown(to);
    const from =
      state === null
        ? this.#instance.deps.config.datastore_version
        : state.phase === 'upgrading'
          ? state.from
          : state.version;
    if (majorOf(from) !== majorOf(to)) {
      throw new PermanentError(
        `PostgreSQL ${from} can't be upgraded to ${to}: another major version needs pg_upgrade, which is not done here`,
      );
    }
  }

  async upgradeServing(state: Serving, to: Binaries, named: Endpoint | null): Promise<void> {
    const primary = named === null || this.#instance.isSelf(named) ? state.primary : named;
    const before = await this.#instance.glance();
    if (before?.version === to.version && state.version === to.version) {
      if (before.standby && primary !== null) await this.#switchover.follow(state, primary);
      return;
    }
    if (before !== null) await this.#checkpoint();
    // A standby that was cut off before can't be required to stream afterwards.
    await this.#restartOn(state.version, to, primary, {
      mustStream: before !== null && before.streamsFrom !== null,
    });
  }

  /** A demoted primary returns as a standby of its successor; its log ends where the successor's begins. */
  async returnAsStandby(state: Demoted, binaries: Binaries, primary: Endpoint | null): Promise<void> {
    if (primary === null || this.#instance.isSelf(primary)) {
      throw new Error(
        'this instance was demoted: it can come back only as the standby of another primary, and none is named: promote a standby by hand, then retry',
      );
    }
    await this.#instance.server.stop();
    await writeFileAtomic(this.#instance.places.standbySignal, '', {
      mode: 0o600,
      owner: this.#instance.account,
    });
    await this.#restartOn(state.version, binaries, primary, { mustStream: true });
    await this.#dropOrphanedSlots();
    if (this.#instance.setup.movesSlots) await this.#dropMovedSlots();
  }

  /**
   * The subscribers of these slots have lost them: no change that they asked for arrives here any more, and
   * each slot would keep the log until the disk is full. A slot that somebody reads is used on a standby, and
   * stays.
   */
  async #dropOrphanedSlots(): Promise<void> {
    const { log } = this.#instance.deps;
    let remains = {};
    // A server that has just started may hold a slot for a moment.
    for (let tries = 0; tries < DROP_TRIES; tries++) {
      if (tries > 0) await sleep(DROP_AGAIN_MS);
      try {
        const { dropped, left } = await this.#instance.withServer((client) =>
          dropIdleSlots(client, 'logical'),
        );
        if (dropped.length > 0) log.warn({ slots: dropped }, 'dropped logical slots of the former primary');
        if (left.length === 0) return;
        remains = { slots: left };
      } catch (error) {
        remains = { error: textOf(error) };
      }
    }
    log.warn(
      remains,
      'logical slots of the former primary are in use on this standby, or could not be dropped',
    );
  }

  /** The successor has them now; here each would keep the log until the disk is full. */
  async #dropMovedSlots(): Promise<void> {
    try {
      await this.#instance.withServer((client) => dropIdleSlots(client, 'physical'));
    } catch (error) {
      const fields = { error: textOf(error) };
      this.#instance.deps.log.warn(fields, 'physical slots of the former primary could not be dropped');
    }
  }

  async #restartOn(
    from: string,
    to: Binaries,
    primary: Endpoint | null,
    { mustStream }: { readonly mustStream: boolean },
  ): Promise<void> {
    const old = from === to.version ? to : await this.#instance.setup.binaries(from);
    await this.#instance.save({ phase: 'upgrading', from, to: to.version, primary });
    await this.#instance.writeSettings(primary);
    const began = performance.now();
    let stopped = began;
    let started = began;
    try {
      await this.#instance.stopServer();
      stopped = performance.now();
      await this.#instance.startServer(to, primary, UPGRADE_START_MS);
      started = performance.now();
      await this.#instance.withServer(async (client) => {
        const { version, standby } = await glance(client);
        if (version !== to.version) throw new Error(`the server answers that it is ${version}`);
        if (!standby || (await untilStreaming(client, primary, mustStream ? STREAM_MS : STREAM_GRACE_MS)))
          return;
        if (mustStream)
          throw new Error(await notStreaming(this.#instance.server, this.#instance.setup, primary));
      });
    } catch (error) {
      // The state on disk tells the next agent how to go on.
      this.#instance.halt.signal.throwIfAborted();
      await this.#goBack(old, primary, `PostgreSQL ${to.version} does not serve: ${textOf(error)}`);
    }
    this.#instance.watch.forgive();
    await this.#instance.save({ phase: 'serving', version: to.version, primary });
    this.#instance.deps.log.info(
      {
        ...{ from, to: to.version },
        stop_ms: Math.round(stopped - began),
        start_ms: Math.round(started - stopped),
        stream_ms: Math.round(performance.now() - started),
      },
      'restarted on another version',
    );
  }

  async #goBack(old: Binaries, primary: Endpoint | null, reason: string): Promise<never> {
    this.#instance.deps.log.error({ reason, version: old.version }, 'going back to the old version');
    let outcome = `the server is back on ${old.version}`;
    try {
      await this.#instance.stopServer();
      await this.#instance.startServer(old, primary, UPGRADE_START_MS);
      await this.#instance.withServer((client) => untilStreamingIfStandby(client, primary));
    } catch (error) {
      this.#instance.halt.signal.throwIfAborted();
      outcome = `and it does not come back on ${old.version} either: ${textOf(error)}`;
    }
    await this.#instance.save({ phase: 'serving', version: old.version, primary });
    throw new Error(`${reason}; ${outcome}`);
  }

  async #checkpoint(): Promise<void> {
    await this.#instance
      .withServer((client) => client.query('CHECKPOINT'))
      .catch((error: unknown) => {
        this.#instance.deps.log.warn(
          { error: textOf(error) },
          'no checkpoint before the stop: it will take longer',
        );
      });
  }
}

async function untilStreamingIfStandby(client: Client, primary: Endpoint | null): Promise<void> {
  if ((await glance(client)).standby) await untilStreaming(client, primary, STREAM_GRACE_MS);
}
