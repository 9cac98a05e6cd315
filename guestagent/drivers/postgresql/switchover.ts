import type { Client } from 'pg';
import type { Endpoint } from '../../../src/core/domain.ts';
import { textOf } from '../../../src/log.ts';
import { sleep } from '../../../src/service.ts';
import { PermanentError } from '../../driver.ts';
import { removeIfThere } from '../../files.ts';
import { alterSystem } from './auto-conf.ts';
import { formatLsn, readControl } from './control.ts';
import { tooSmall } from './demands.ts';
import type { Instance } from './instance.ts';
import { notStreaming } from './not-streaming.ts';
import { demandsOfServer } from './other-server.ts';
import { makePhysicalSlots, physicalSlotsIn } from './physical-slots.ts';
import { replayUpTo } from './replay.ts';
import {
  applicationName,
  glance,
  promoteNow,
  type Standby,
  standbysOf,
  untilStreaming,
  writtenPosition,
} from './replication.ts';
import type { Demoted, Serving } from './state.ts';
import {
  AwaitedStandbys,
  type Handover,
  isMet,
  renamed,
  SYNCHRONOUS,
  synchronousNames,
} from './synchronous.ts';

/** How long a standby may take to stream after it was restarted, or was given another primary. */
export const STREAM_MS = 10_000;
const REPLAY_MS = 3_000;
const PROMOTE_MS = 60_000;
const PROMOTE_AGAIN_MS = 200;
const DEMOTE_STOP_MS = 15_000;
/** A standby this near receives the rest during the fast shutdown, which sends it. */
const NEAR_BYTES = 16 * 1024 * 1024;
/** A standby reports its position at least once a second. */
const NEAR_MS = 4_000;
const POLL_MS = 2;

/** Changes the roles of servers: a primary is demoted, a standby takes over, the others follow it. */
export class Switchover {
  readonly #instance: Instance;
  readonly #awaited: AwaitedStandbys;

  constructor(instance: Instance) {
    this.#instance = instance;
    this.#awaited = new AwaitedStandbys(instance.places);
  }

  async demote(
    state: Serving,
    successor: string | null,
  ): Promise<{ readonly lsn: string; readonly handover: Handover }> {
    const began = performance.now();
    const names = await this.#instance.withServer(async (client) => {
      if ((await glance(client)).standby)
        throw new PermanentError('this instance is a standby: it can not be demoted');
      await this.#requireSuccessor(client, successor, await writtenPosition(client));
      // What is flushed now need not be flushed while clients wait. The second checkpoint covers what was
      // written during the first.
      await client.query('CHECKPOINT');
      const position = await writtenPosition(client);
      await client.query('CHECKPOINT');
      await this.#requireSuccessor(client, successor, position);
      return (await this.#awaited.read()) ?? (await synchronousNames(client));
    });
    // A repeated order is answered from this file. This server no longer needs the names once it follows
    // another server.
    if (names === '') await this.#awaited.forget();
    else await this.#awaited.write(names);
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
    // On disk the state stays `demoting`, which says the same together with `pg_control`: clients are
    // waiting, so nothing is written.
    this.#instance.state = { phase: 'demoted', version: state.version, lsn };
    this.#instance.deps.log.info(
      {
        lsn,
        checkpoint_ms: Math.round(stopping - began),
        stop_ms: Math.round(performance.now() - stopping),
      },
      'demoted',
    );
    return { lsn, handover: await this.#handover(names) };
  }

  async demotedBefore({ lsn }: Demoted): Promise<{ readonly lsn: string; readonly handover: Handover }> {
    return { lsn, handover: await this.#handover((await this.#awaited.read()) ?? '') };
  }

  async #handover(names: string): Promise<Handover> {
    const { setup, places } = this.#instance;
    const own = await setup.ownSlot();
    const slots = setup.movesSlots ? await physicalSlotsIn(places.data) : [];
    return {
      [SYNCHRONOUS]: names,
      application_name: await setup.ownStreamName(),
      slots: [...slots, ...(own === null ? [] : [own])],
    };
  }

  /**
   * A shutdown while no standby receives everything would end in a loss. A shutdown whose successor does not
   * replay what it receives ends in a long outage, because the successor is promoted only after the replay
   * (P3).
   */
  async #requireSuccessor(client: Client, successor: string | null, position: string): Promise<void> {
    const name = successor === null ? null : applicationName(successor);
    for (const deadline = Date.now() + NEAR_MS; ; await sleep(20)) {
      const all = await standbysOf(client, position);
      const candidates = name === null ? all : all.filter((standby) => standby.name === name);
      const near = candidates.filter(({ lacksBytes }) => lacksBytes <= NEAR_BYTES);
      if (near.some(({ unreplayedBytes }) => unreplayedBytes <= 0)) return;
      if (Date.now() <= deadline) continue;
      throw new Error(whyNobody(all, candidates, near, successor));
    }
  }

  /**
   * Waits only for the shutdown checkpoint, the last record that this primary writes. The process itself
   * continues to send that record to the standbys, and a standby that hangs may delay its end for seconds.
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
    await removeIfThere(this.#instance.places.standbySignal);
    await this.#instance.save(serving);
    await this.#instance.bringUp(serving);
  }

  async promote(state: Serving, lsn: string, handover: Handover | null): Promise<void> {
    const began = performance.now();
    const isStandby = await this.#instance.withServer(async (client) => {
      if (!(await glance(client)).standby) return false;
      if (await replayUpTo(client, lsn, REPLAY_MS, this.#instance.deps.log)) {
        await this.#forgetSynchronous(client, handover);
        return true;
      }
      throw new Error(`this standby has not replayed everything up to ${lsn}: it stays a standby`);
    });
    const replayed = performance.now();
    if (isStandby) await this.#becomePrimary(state);
    await this.#makeSlots(handover);
    await this.#takeOn(handover);
    const [replay_ms, promote_ms] = [replayed - began, performance.now() - replayed].map(Math.round);
    this.#instance.deps.log.info({ lsn, replay_ms, promote_ms }, 'promoted');
  }

  /**
   * The names that this server asked for when it was last the primary would block every write: its standbys
   * follow another server.
   */
  async #forgetSynchronous(client: Client, handover: Handover | null): Promise<void> {
    await this.#awaited.forget();
    if (handover !== null && (await synchronousNames(client)) !== '') await this.#setSynchronous(client, '');
  }

  /** An empty text resets the names. */
  async #setSynchronous(client: Client, names: string): Promise<void> {
    await this.#instance.setup.setsSynchronous(names);
    await alterSystem(client, SYNCHRONOUS, names === '' ? null : names);
  }

  /** The slot that this server has used itself would never be read again. */
  async #makeSlots(handover: Handover | null): Promise<void> {
    const own = await this.#instance.setup.ownSlot();
    const slots = (handover?.slots ?? []).filter((name) => name !== own);
    if (slots.length === 0) return;
    await this.#instance.withServer((client) => makePhysicalSlots(client, slots));
  }

  /** Not yet in force: `awaitStandbys` puts it into force. */
  async #takeOn(handover: Handover | null): Promise<void> {
    if (handover === null || handover[SYNCHRONOUS] === '') return;
    const name = await this.#instance.setup.ownStreamName();
    await this.#awaited.write(renamed(handover[SYNCHRONOUS], name, handover.application_name));
  }

  /**
   * Called at intervals on a primary: puts the handed-over names into force as soon as they block no write.
   */
  async awaitStandbys(): Promise<void> {
    const names = await this.#awaited.read();
    if (names === null) return;
    if (names === '') return await this.#awaited.forget();
    await this.#instance.withServer(async (client) => {
      if (!(await isMet(client, names))) return;
      // Names that an operator has set since then take precedence; a demotion that was undone changes
      // nothing.
      if ((await synchronousNames(client)) === '') await this.#setSynchronous(client, names);
      await this.#awaited.forget();
      this.#instance.deps.log.info({ [SYNCHRONOUS]: names }, 'taken on from the former primary');
    });
  }

  /**
   * Once PostgreSQL was told to promote itself, it may do so at any moment, whatever happens to the
   * connection. The answer "not done" would be believed, and make the old primary serve again beside this
   * one. So nothing is answered until the server itself reports that it is the primary.
   */
  async #becomePrimary(state: Serving): Promise<void> {
    for (;;) {
      this.#instance.halt.signal.throwIfAborted();
      try {
        if ((await this.#instance.server.find()) === null) await this.#instance.bringUp(state);
        if (await this.#instance.withServer((client) => promoteNow(client, PROMOTE_MS))) return;
        this.#instance.deps.log.warn({}, 'the promotion takes long; asking again');
      } catch (error) {
        this.#instance.deps.log.warn({ error: textOf(error) }, 'the promotion was cut off; asking again');
        await sleep(PROMOTE_AGAIN_MS);
      }
    }
  }

  async follow(state: Serving, primary: Endpoint): Promise<void> {
    if (this.#instance.isSelf(primary)) throw new PermanentError('an instance can not follow itself');
    const isThere = await this.#instance.withServer(async (client) => {
      if (!(await glance(client)).standby)
        throw new PermanentError('this instance is a primary: it can not follow another');
      return await untilStreaming(client, primary, 0);
    });
    await this.#instance.save({ ...state, primary });
    if (isThere) return;
    await this.#turnTo({ ...state, primary });
    if (await this.#instance.withServer((client) => untilStreaming(client, primary, STREAM_MS))) {
      this.#instance.watch.forgive();
      return;
    }
    const { server, setup } = this.#instance;
    const reason = await notStreaming(server, setup, primary);
    await this.#instance.save(state);
    await this.#turnTo(state);
    throw new Error(reason);
  }

  /**
   * The replay of a server with a setting smaller than its primary's would stop, so such a server is
   * restarted with enough.
   */
  async #turnTo(state: Serving): Promise<void> {
    const { deps, server, setup } = this.#instance;
    const login = state.primary === null ? null : await setup.replicationLogin(state.primary);
    const demands = login === null ? null : await demandsOfServer(login).catch(() => null);
    const small =
      demands === null ? null : await this.#instance.withServer((client) => tooSmall(client, demands));
    if (small !== null) {
      deps.log.info({ reason: small }, 'restarting the standby with as much as its primary has');
      await this.#instance.stopServer();
      await this.#instance.bringUp(state);
      return;
    }
    await this.#instance.writeSettings(state.primary);
    await server.reload();
  }
}

function whyNobody(
  all: readonly Standby[],
  candidates: readonly Standby[],
  near: readonly Standby[],
  successor: string | null,
): string {
  if (all.length === 0) return 'no standby streams from this primary: there is nobody to take over';
  const who = successor ?? 'the nearest standby';
  if (candidates.length === 0) return `${who} does not stream from this primary: it can not take over`;
  if (near.length === 0) {
    const lacks = Math.min(...candidates.map(({ lacksBytes }) => lacksBytes));
    return `${who} lacks ${lacks} bytes: too far behind to take over`;
  }
  const unreplayed = Math.min(...near.map(({ unreplayedBytes }) => unreplayedBytes));
  return (
    `${who} has ${unreplayed} bytes yet to replay and does not get there: the primary goes on serving. ` +
    'Its replay is paused (pg_wal_replay_pause), delayed (recovery_min_apply_delay) or waits for a session that reads there'
  );
}
