import type { Client } from 'pg';
import type { Endpoint } from '../../../src/core/domain.ts';
import { PermanentError } from '../../driver.ts';
import { messageOf, removeIfThere, sleep } from '../../files.ts';
import { formatLsn, readControl } from './control.ts';
import { notStreaming } from './health.ts';
import type { Demoted, Instance, Serving } from './instance.ts';
import { glance, promoteNow, standbysOf, untilReplayed, untilStreaming } from './replication.ts';

/** How long a standby may take to stream after it was restarted, or was given another primary. */
export const STREAM_MS = 10_000;
const REPLAY_MS = 3_000;
const PROMOTE_MS = 60_000;
const PROMOTE_AGAIN_MS = 200;
const DEMOTE_STOP_MS = 15_000;
/** A standby this near gets the rest within the fast shutdown, which sends it. */
const NEAR_BYTES = 16 * 1024 * 1024;
const NEAR_MS = 3_000;
const POLL_MS = 2;

/** Changes the roles of servers: a primary steps down, a standby takes over, the others follow it. */
export class Switchover {
  readonly #instance: Instance;

  constructor(instance: Instance) {
    this.#instance = instance;
  }

  async demote(state: Serving): Promise<string> {
    const began = performance.now();
    await this.#instance.withServer(async (client) => {
      if ((await glance(client)).standby)
        throw new PermanentError('this instance is a standby: it can not be demoted');
      await this.#requireSuccessor(client);
      // What is flushed now need not be flushed while clients wait. The second has what came in meanwhile.
      await client.query('CHECKPOINT');
      await client.query('CHECKPOINT');
      await this.#requireSuccessor(client);
    });
    if ((await readControl(this.#instance.places.data))?.shutDown === true)
      throw new Error("pg_control is not this server's");
    await this.#instance.save({ phase: 'demoting', version: state.version });
    const stopping = performance.now();
    this.#instance.closeSessions();
    const lsn = (await this.#instance.server.beginStop()) ? await this.#shutdownPosition() : null;
    if (lsn === null) {
      await this.#instance.server.stopAtOnce();
      const serving: Serving = { phase: 'serving', version: state.version, primary: null };
      await this.#instance.bringUp(serving);
      await this.#instance.save(serving);
      throw new Error('the server did not shut down cleanly in time; it serves as primary again');
    }
    // On disk it stays `demoting`, which says as much together with `pg_control`: clients wait meanwhile.
    this.#instance.state = { phase: 'demoted', version: state.version, lsn };
    this.#instance.deps.log.info(
      {
        lsn,
        checkpoint_ms: Math.round(stopping - began),
        stop_ms: Math.round(performance.now() - stopping),
      },
      'demoted',
    );
    return lsn;
  }

  /** A shutdown without a standby that gets everything would end in a loss, or in a long outage. */
  async #requireSuccessor(client: Client): Promise<void> {
    for (const deadline = Date.now() + NEAR_MS; ; await sleep(20)) {
      const { streaming, nearestBytes } = await standbysOf(client);
      if (nearestBytes !== null && nearestBytes <= NEAR_BYTES) return;
      if (Date.now() <= deadline) continue;
      throw new Error(
        streaming === 0
          ? 'no standby streams from this primary: there is nobody to take over'
          : `the nearest standby lacks ${nearestBytes ?? 'unknown'} bytes: too far behind to take over`,
      );
    }
  }

  /**
   * Waits for the shutdown checkpoint, the last record that this primary writes, and no longer: the
   * process itself still sends it to the standbys, and a standby that hangs may hold it for seconds.
   */
  async #shutdownPosition(): Promise<string | null> {
    for (const deadline = Date.now() + DEMOTE_STOP_MS; Date.now() < deadline; await sleep(POLL_MS)) {
      const running = await this.#instance.server.find();
      const control = await readControl(this.#instance.places.data);
      if (control?.shutDown === true) return formatLsn(control.checkpoint);
      if (running === null && control !== null) return null;
    }
    return null;
  }

  async undoDemotion(state: Demoted): Promise<void> {
    const serving: Serving = { phase: 'serving', version: state.version, primary: null };
    await this.#instance.server.stop();
    await removeIfThere(this.#instance.standbySignal);
    await this.#instance.save(serving);
    await this.#instance.bringUp(serving);
  }

  async promote(state: Serving, lsn: string): Promise<void> {
    const began = performance.now();
    const isStandby = await this.#instance.withServer(async (client) => {
      if (!(await glance(client)).standby) return false;
      if (await untilReplayed(client, lsn, REPLAY_MS)) return true;
      throw new Error(`this standby has not replayed everything up to ${lsn}: it stays a standby`);
    });
    const replayed = performance.now();
    if (isStandby) await this.#becomePrimary(state);
    const [replay_ms, promote_ms] = [replayed - began, performance.now() - replayed].map(Math.round);
    this.#instance.deps.log.info({ lsn, replay_ms, promote_ms }, 'promoted');
  }

  /**
   * Once PostgreSQL was told to promote itself it may do so at any moment, whatever becomes of the
   * connection: "not done" would be believed, and make the old primary serve again beside this one.
   * So nothing is answered until the server itself says that it is the primary.
   */
  async #becomePrimary(state: Serving): Promise<void> {
    for (;;) {
      this.#instance.halt.signal.throwIfAborted();
      try {
        if ((await this.#instance.server.find()) === null) await this.#instance.bringUp(state);
        if (await this.#instance.withServer((client) => promoteNow(client, PROMOTE_MS))) return;
        this.#instance.deps.log.warn({}, 'the promotion takes long; asking again');
      } catch (error) {
        this.#instance.deps.log.warn({ error: messageOf(error) }, 'the promotion was cut off; asking again');
        await sleep(PROMOTE_AGAIN_MS);
      }
    }
  }

  async follow(state: Serving, primary: Endpoint): Promise<void> {
    if (this.#instance.isSelf(primary)) throw new PermanentError('an instance can not follow itself');
    await this.#instance.withServer(async (client) => {
      if (!(await glance(client)).standby)
        throw new PermanentError('this instance is a primary: it can not follow another');
      await this.#instance.save({ ...state, primary });
      if (await untilStreaming(client, primary, 0)) return;
      await this.#instance.writeSettings(primary);
      await this.#instance.server.reload();
      if (await untilStreaming(client, primary, STREAM_MS)) return;
      const reason = await notStreaming(this.#instance.server, primary);
      await this.#instance.save(state);
      await this.#instance.writeSettings(state.primary);
      await this.#instance.server.reload();
      throw new Error(reason);
    });
    this.#instance.watch.forgive();
  }
}
