import { access } from 'node:fs/promises';
import type { Endpoint, Hindrance, Role, ServiceStatus } from '../../../src/core/domain.ts';
import { isErrno } from '../../../src/files.ts';
import type { Health, InstanceConfig } from '../../driver.ts';
import { LateError, messageOf, within } from '../../files.ts';
import { beatenWords } from './auto-conf.ts';
import { readControl } from './control.ts';
import { notStreaming } from './not-streaming.ts';
import { positionOf } from './other-server.ts';
import { hindranceOf } from './replay.ts';
import { type Glance, glance } from './replication.ts';
import type { Server } from './server.ts';
import type { Places } from './settings.ts';
import { type Limits, type Login, PATIENT, QUICK, Session } from './sql.ts';
import type { State } from './state.ts';

/** A standby reconnects within this time; one that does not is in trouble. */
export const STREAM_GRACE_MS = 5_000;

const LOGIN_MS = 900;
const WATCHING: Limits = { connectMs: PATIENT.connectMs, statementMs: QUICK.statementMs };
/** How long a server that takes no further connection is believed to be as it was. */
const BELIEVED_MS = 10_000;

/** What the primary said this recently is its position still. */
const FRESH_MS = 1_500;

interface Seen {
  readonly glance: Glance;
  readonly hindrance: Hindrance | null;
}

/** What an order makes of the instance while it is carried out. */
export interface Activity {
  readonly status: ServiceStatus;
  message: string;
}

/** What the driver knows beyond what can be seen. */
export interface Situation {
  readonly state: State | null;
  readonly activity: Activity | null;
  /** False before `start` and after `stop`. */
  readonly wanted: boolean;
  /** Why the server could not be started again after it had ended by itself. */
  readonly trouble: string | null;
  /** Called when a server that is wanted is found to have ended. */
  readonly ended: () => void;
  /** Called when the server has less of something than its primary, so that its replay stands still. */
  readonly tooSmall: () => void;
}

/**
 * Says how the server is: quickly, over a connection of its own, so that a long statement of an order
 * does not hold up a heartbeat. Never throws, and answers within a few seconds, whatever hangs.
 */
export class HealthWatch {
  readonly #config: InstanceConfig;
  readonly #places: Places;
  readonly #server: Server;
  readonly #session: Session;
  #streamedAt = Date.now();
  /** What the server said of itself the last time, since it was last stopped. */
  #last: { readonly seen: Seen; readonly at: number } | null = null;
  /** How far the standby was the last time. */
  #furthest: bigint | null = null;

  constructor(config: InstanceConfig, places: Places, server: Server, login: Login) {
    this.#config = config;
    this.#places = places;
    this.#server = server;
    this.#session = new Session(login, WATCHING);
  }

  close(): void {
    this.#last = null;
    this.#furthest = null;
    this.#session.close();
  }

  /** The standby was just restarted, or given another primary: its time to connect begins anew. */
  forgive(): void {
    this.#streamedAt = Date.now();
  }

  async look(situation: Situation): Promise<Health> {
    try {
      return await this.#look(situation);
    } catch (error) {
      return this.#down(situation, 'failed', messageOf(error));
    }
  }

  /** A login that takes longer goes on for the next look. */
  async glance(): Promise<Glance> {
    await within(LOGIN_MS, this.#session.open(), 'logging in takes long');
    return this.#session.use(glance);
  }

  async #see(): Promise<Seen> {
    const glance = await this.glance();
    const control = await readControl(this.#places.data).catch(() => null);
    const hindrance = glance.standby
      ? await this.#session.use((client) => hindranceOf(client, control))
      : null;
    const seen = { glance, hindrance };
    this.#last = { seen, at: Date.now() };
    return seen;
  }

  /** Logs in, with patience: the next look need not. */
  async holdSession(): Promise<void> {
    await this.#session.open();
  }

  async #look(situation: Situation): Promise<Health> {
    const { state, activity } = situation;
    await this.#server.trimLog();
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
      // A server whose connections an application has taken serves that application.
      if (!(error instanceof LateError)) this.#last = null;
      if (this.#last !== null && Date.now() - this.#last.at < BELIEVED_MS) {
        return this.#report(this.#last.seen, situation);
      }
      return this.#down(
        situation,
        'failed',
        await this.#explained(`the server does not answer: ${messageOf(error)}`),
      );
    }
    return this.#report(seen, situation);
  }

  async #report({ glance: seen, hindrance }: Seen, situation: Situation): Promise<Health> {
    const { state, activity } = situation;
    const primary = state !== null && 'primary' in state ? state.primary : null;
    this.#noteProgress(seen);
    const wrong = activity?.status === 'upgrading' ? null : await this.#wrongWith(seen, hindrance, primary);
    if (hindrance?.kind === 'settings' && activity === null) situation.tooSmall();
    const busy = activity?.status === 'upgrading' ? activity : null;
    return {
      service_status: busy !== null ? 'upgrading' : wrong !== null ? 'failed' : 'healthy',
      version: seen.version,
      role: seen.standby ? 'replica' : 'primary',
      upstream: seen.upstream,
      lag_bytes: await this.#lagOf(seen, primary),
      hindrance,
      // Known to the primary only; Coffer makes no replica synchronous.
      synchronous: false,
      endpoint: this.#config.endpoint,
      message: busy?.message ?? wrong,
    };
  }

  /** A standby that streams is not cut off, nor is one that gets any further with what it has. */
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
    return await this.#explained(await notStreaming(this.#server, this.#config, primary));
  }

  /**
   * Against the primary's own position: what a standby heard from it is that only as long as it hears from it.
   */
  async #lagOf({ replayed, streamsFrom, heard }: Glance, primary: Endpoint | null): Promise<number | null> {
    if (replayed === null) return null;
    const endpoint = streamsFrom ?? primary;
    const isFresh = heard !== null && heard.ago_ms < FRESH_MS;
    const asked =
      isFresh || endpoint === null ? null : await positionOf(this.#config, endpoint).catch(() => null);
    const position = asked ?? heard?.position;
    return position === undefined ? null : Math.max(0, Number(position - replayed));
  }

  /** A server that listens elsewhere, or follows another one, may have been told so by an operator. */
  async #explained(message: string): Promise<string> {
    const words = await beatenWords(this.#config, this.#places).catch(() => null);
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

  /** By the data directory; null for a demoted primary, which is neither until it is told. */
  async #roleAtRest(state: State | null): Promise<Role | null> {
    if (state === null || state.phase === 'building') return this.#config.role;
    if (state.phase === 'demoted') return null;
    return access(this.#places.standbySignal).then(
      () => 'replica',
      (error: unknown) => (isErrno(error, 'ENOENT') ? 'primary' : null),
    );
  }
}
