import { access } from 'node:fs/promises';
import type { Endpoint, Hindrance, Role, ServiceStatus } from '../../../src/core/domain.ts';
import { isErrno } from '../../../src/files.ts';
import { textOf } from '../../../src/log.ts';
import type { Health, InstanceConfig } from '../../driver.ts';
import { LateError, within } from '../../files.ts';
import { readControl } from './control.ts';
import { notStreaming } from './not-streaming.ts';
import { positionOf } from './other-server.ts';
import { hindranceOf } from './replay.ts';
import { type Glance, glance } from './replication.ts';
import type { Server } from './server.ts';
import type { Setup } from './setup.ts';
import { type Limits, PATIENT, QUICK, Session } from './sql.ts';
import type { State } from './state.ts';

/** A healthy standby reconnects within this time; one that does not has a problem. */
export const STREAM_GRACE_MS = 5_000;

const NOT_OURS_TO_START =
  'the server is down; Coffer did not make it and does not start it: start it as its host does';

const LOGIN_MS = 900;
const WATCHING: Limits = { connectMs: PATIENT.connectMs, statementMs: QUICK.statementMs };
/** A server that takes no further connection is assumed to be unchanged for this long. */
const BELIEVED_MS = 10_000;

/** A position that the primary sent within this time is still considered current. */
const FRESH_MS = 1_500;

interface Seen {
  readonly glance: Glance;
  readonly hindrance: Hindrance | null;
}

/** How the instance appears while an order is carried out. */
export interface Activity {
  readonly status: ServiceStatus;
  message: string;
}

/** What the driver knows beyond what it can observe. */
interface Situation {
  readonly state: State | null;
  readonly activity: Activity | null;
  /** False before `start` and after `stop`. */
  readonly wanted: boolean;
  /** Why the server could not be started again after it had ended by itself. */
  readonly trouble: string | null;
  /** Called when a server that should run is found to have ended. */
  readonly ended: () => void;
  /** Called when a setting of the server is smaller than its primary's, so that its replay has stopped. */
  readonly tooSmall: () => void;
}

/**
 * Reports the state of the server. It has a connection of its own, so that a long statement of an order does
 * not delay a heartbeat. Never throws, and answers within a few seconds, whatever hangs.
 */
export class HealthWatch {
  readonly #config: InstanceConfig;
  readonly #setup: Setup;
  readonly #server: Server;
  readonly #session: Session;
  #streamedAt = Date.now();
  /** What the server reported about itself last, since it was last stopped. */
  #last: { readonly seen: Seen; readonly at: number } | null = null;
  /** The standby's position at the last check. */
  #furthest: bigint | null = null;

  constructor(config: InstanceConfig, setup: Setup, server: Server) {
    this.#config = config;
    this.#setup = setup;
    this.#server = server;
    this.#session = new Session(setup.login, WATCHING);
  }

  close(): void {
    this.#last = null;
    this.#furthest = null;
    this.#session.close();
  }

  /** The standby was just restarted, or given another primary: its time to connect starts again. */
  forgive(): void {
    this.#streamedAt = Date.now();
  }

  async check(situation: Situation): Promise<Health> {
    try {
      return await this.#check(situation);
    } catch (error) {
      return this.#down(situation, 'failed', textOf(error));
    }
  }

  /** A login that takes longer continues, and the next check uses it. */
  async glance(): Promise<Glance> {
    await within(LOGIN_MS, this.#session.open(), 'logging in takes long');
    return this.#session.use(glance);
  }

  async #see(): Promise<Seen> {
    const glance = await this.glance();
    const control = await readControl(this.#setup.places.data).catch(() => null);
    const hindrance = glance.standby
      ? await this.#session.use((client) => hindranceOf(client, control))
      : null;
    const seen = { glance, hindrance };
    this.#last = { seen, at: Date.now() };
    return seen;
  }

  /** Logs in patiently, so that the next check need not log in. */
  async holdSession(): Promise<void> {
    await this.#session.open();
  }

  async #check(situation: Situation): Promise<Health> {
    const { state, activity } = situation;
    if (this.#setup.ownsLog) await this.#server.trimLog();
    if (activity?.status === 'building') return this.#down(situation, 'building', activity.message);
    if (state === null) return this.#down(situation, 'building', 'the instance is not built yet');
    if (state.phase === 'demoted' && activity === null) {
      return this.#down(
        situation,
        'shutdown',
        'demoted for a switchover: waits for an order to follow, or to be primary again',
      );
    }
    if ((await this.#server.find()) === null) {
      if (activity !== null) return this.#down(situation, activity.status, activity.message);
      if (!situation.wanted) return this.#down(situation, 'shutdown', 'the server is stopped');
      if (!this.#setup.supervises) return this.#down(situation, 'failed', NOT_OURS_TO_START);
      situation.ended();
      return this.#down(
        situation,
        'failed',
        situation.trouble ?? 'the server has ended by itself; it is being started again',
      );
    }
    let seen: Seen;
    try {
      seen = await this.#see();
    } catch (error) {
      if (activity !== null) return this.#down(situation, activity.status, activity.message);
      // If an application has taken all connections of a server, the server serves that application.
      if (!(error instanceof LateError)) this.#last = null;
      if (this.#last !== null && Date.now() - this.#last.at < BELIEVED_MS) {
        return this.#report(this.#last.seen, situation);
      }
      return this.#down(
        situation,
        'failed',
        await this.#explained(`the server does not answer: ${textOf(error)}`),
      );
    }
    return this.#report(seen, situation);
  }

  async #report({ glance: seen, hindrance }: Seen, situation: Situation): Promise<Health> {
    const { state, activity } = situation;
    const primary = state !== null && 'primary' in state ? state.primary : null;
    this.#noteProgress(seen);
    const wrong = activity?.status === 'upgrading' ? null : await this.#wrongWith(seen, hindrance, primary);
    if (hindrance?.kind === 'settings' && activity === null && this.#setup.supervises) situation.tooSmall();
    const busy = activity?.status === 'upgrading' ? activity : null;
    return {
      service_status: busy !== null ? 'upgrading' : wrong !== null ? 'failed' : 'healthy',
      version: seen.version,
      role: seen.standby ? 'replica' : 'primary',
      upstream: seen.upstream,
      lag_bytes: await this.#lagOf(seen, primary),
      hindrance,
      // Only the primary knows this; Coffer makes no replica synchronous.
      synchronous: false,
      endpoint: this.#config.endpoint,
      message: busy?.message ?? wrong,
    };
  }

  /** A standby is not cut off if it streams, or if it still makes progress with the log that it has. */
  #noteProgress({ standby, streamsFrom, received, replayed }: Glance): void {
    const furthest = (received ?? 0n) > (replayed ?? 0n) ? received : replayed;
    const hasMoved = this.#furthest !== null && furthest !== null && furthest > this.#furthest;
    if (!standby || streamsFrom !== null || hasMoved) this.#streamedAt = Date.now();
    this.#furthest = furthest;
  }

  async #wrongWith(
    seen: Glance,
    hindrance: Hindrance | null,
    primary: Endpoint | null,
  ): Promise<string | null> {
    if (hindrance?.kind === 'pause' || hindrance?.kind === 'settings') return hindrance.reason;
    if (!seen.standby || Date.now() - this.#streamedAt <= STREAM_GRACE_MS) return null;
    return await this.#explained(await notStreaming(this.#server, this.#setup, primary));
  }

  /**
   * The lag behind the primary's own position: what the standby received from the primary is current only
   * while it still receives messages from it.
   */
  async #lagOf({ replayed, streamsFrom, heard }: Glance, primary: Endpoint | null): Promise<number | null> {
    if (replayed === null) return null;
    const endpoint = streamsFrom ?? primary;
    const isFresh = heard !== null && heard.ago_ms < FRESH_MS;
    const login = isFresh || endpoint === null ? null : await this.#setup.replicationLogin(endpoint);
    const asked = login === null ? null : await positionOf(login).catch(() => null);
    const position = asked ?? heard?.position;
    return position === undefined ? null : Math.max(0, Number(position - replayed));
  }

  /** A server that listens elsewhere or follows another server may have been configured so by an operator. */
  async #explained(message: string): Promise<string> {
    const words = await this.#setup.explained().catch(() => null);
    return words === null ? message : `${message}; ${words}`;
  }

  async #down({ state }: Situation, status: ServiceStatus, message: string): Promise<Health> {
    return {
      service_status: status,
      version: null,
      role: await this.#roleAtRest(state).catch(() => null),
      lag_bytes: null,
      synchronous: false,
      endpoint: this.#config.endpoint,
      message,
    };
  }

  /**
   * Determined from the data directory; null for a demoted primary, which is neither until it is told its
   * role.
   */
  async #roleAtRest(state: State | null): Promise<Role | null> {
    if (state === null || state.phase === 'building') return this.#config.role;
    if (state.phase === 'demoted') return null;
    return access(this.#setup.places.standbySignal).then(
      () => 'replica',
      (error: unknown) => (isErrno(error, 'ENOENT') ? 'primary' : null),
    );
  }
}
