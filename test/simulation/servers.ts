import type { Endpoint, Instant } from '../../src/core/domain.ts';

/** The bytes of log that one write produces. */
export const WRITE_BYTES = 100_000;
/** How many writes a stopping primary still sends. */
const NEAR_WRITES = 100;

type ServerState =
  | { readonly phase: 'serving' }
  | { readonly phase: 'upgrading'; readonly from: string; readonly to: string }
  | { readonly phase: 'demoting' }
  | { readonly phase: 'demoted'; readonly lsn: number };

/**
 * A database server and its data: it outlives the agent that manages it. The fields here are the true state,
 * of which every other part only receives reports.
 */
export class Server {
  readonly index: number;
  readonly name: string;
  readonly endpoint: Endpoint;
  version: string;
  state: ServerState = { phase: 'serving' };
  isUp = true;
  /** The server does not start on its present version. */
  isBroken = false;
  /** Its process runs, but does not serve yet. */
  isStarting = false;
  /** When it was last out of service, or thought to be, for another reason than an upgrade. */
  troubledAt: Instant = Number.NEGATIVE_INFINITY;
  /** Out of service because of an upgrade, after having been in service before. */
  isDownByUpgrade = false;
  isPrimary: boolean;
  /** A person has promoted it by hand, beside the primary that clients write to. */
  isByHand = false;
  upstream: Server | null = null;
  /** How many writes of the log it has, and how many of them it has applied as a standby. */
  received = 0;
  replayed = 0;
  /** How many writes it applies per tick. */
  replayRate = Number.POSITIVE_INFINITY;
  unlinkedUntil: Instant = 0;
  sickUntil: Instant = 0;
  streamedAt: Instant = 0;
  upSince: Instant | null = 0;
  downSince: Instant | null = null;
  /** Every version that it ran, with the time since when; null while it was down. */
  readonly versions: { readonly at: Instant; readonly version: string | null }[] = [];

  constructor(index: number, version: string, isPrimary: boolean) {
    this.index = index;
    this.name = `db-${index}`;
    this.endpoint = { host: `${this.name}.test`, port: 5432 };
    this.version = version;
    this.isPrimary = isPrimary;
  }
}

/** The servers of one cluster, their replication, and the clients that write to them. */
export class Servers {
  readonly all: readonly Server[];
  readonly isReplicated: boolean;
  /** Writes that a client was told are safe. */
  acknowledged = 0;
  /** Counts every change of which servers are up, for the checks. */
  changes = 0;
  readonly #now: () => Instant;

  constructor(all: readonly Server[], isReplicated: boolean, now: () => Instant) {
    this.all = all;
    this.isReplicated = isReplicated;
    this.#now = now;
    for (const server of all) {
      server.upstream = isReplicated && !server.isPrimary ? (all[0] ?? null) : null;
      server.streamedAt = now();
      server.upSince = now();
      server.versions.push({ at: now(), version: server.version });
    }
  }

  at(endpoint: Endpoint | null): Server | undefined {
    return this.all.find((server) => server.endpoint.host === endpoint?.host);
  }

  isStreaming(server: Server): boolean {
    const { upstream } = server;
    return server.isUp && !server.isPrimary && upstream?.isUp === true && server.unlinkedUntil <= this.#now();
  }

  /** Clients write, standbys follow. */
  tick(): void {
    for (const server of this.all) {
      const isTroubled = (!server.isUp && !server.isDownByUpgrade) || server.sickUntil > this.#now();
      if (isTroubled) server.troubledAt = this.#now();
    }
    for (const server of this.all) {
      if (!server.isUp || !server.isPrimary || server.isByHand) continue;
      server.received += 1;
      server.replayed = server.received;
      this.acknowledged = Math.max(this.acknowledged, server.received);
    }
    for (const server of this.all) {
      if (!server.isUp || server.isPrimary) continue;
      if (this.isStreaming(server)) {
        server.streamedAt = this.#now();
        server.received = Math.max(server.received, server.upstream?.received ?? 0);
      }
      server.replayed = Math.min(server.received, server.replayed + server.replayRate);
    }
  }

  start(server: Server): void {
    if (server.isUp) return;
    server.isUp = true;
    server.isDownByUpgrade = false;
    server.upSince = this.#now();
    server.downSince = null;
    server.streamedAt = this.#now();
    this.#noteVersion(server);
  }

  /** `upgrade`: stopped for an upgrade; `fault`: stopped by itself. */
  stop(server: Server, why: 'upgrade' | 'fault'): void {
    if (!server.isUp) return;
    server.isUp = false;
    server.isDownByUpgrade = why === 'upgrade';
    server.upSince = null;
    server.downSince = this.#now();
    this.#noteVersion(server);
  }

  setVersion(server: Server, version: string): void {
    server.version = version;
    this.#noteVersion(server);
  }

  setState(server: Server, state: ServerState): void {
    server.state = state;
    this.changes += 1;
  }

  promote(server: Server): void {
    server.isPrimary = true;
    server.upstream = null;
    this.changes += 1;
  }

  /** `pg_promote()`, by a person who knows nothing of the upgrade. */
  promoteByHand(server: Server): void {
    server.isByHand = true;
    this.promote(server);
  }

  /**
   * A server that was promoted by hand becomes a replica of the primary that clients write to, with that
   * primary's data.
   */
  mendPrimaries(): void {
    const primary = this.all.find(({ isPrimary, isByHand }) => isPrimary && !isByHand);
    for (const server of this.all) {
      if (!server.isByHand || !primary) continue;
      server.isByHand = false;
      this.follow(server, primary);
    }
  }

  follow(server: Server, upstream: Server): void {
    server.isPrimary = false;
    server.upstream = upstream;
    server.streamedAt = this.#now();
    this.changes += 1;
  }

  /**
   * A clean stop of a primary: each standby that streams and is near receives everything, including the last
   * record.
   */
  stopCleanly(server: Server): number {
    for (const standby of this.all) {
      if (standby.upstream !== server || !this.isStreaming(standby)) continue;
      if (server.received - standby.received <= NEAR_WRITES) standby.received = server.received;
    }
    this.stop(server, 'upgrade');
    return server.received;
  }

  hasNearStandby(server: Server): boolean {
    return this.all.some(
      (standby) =>
        standby.upstream === server &&
        this.isStreaming(standby) &&
        server.received - standby.received <= NEAR_WRITES,
    );
  }

  /** Whether it ran the version at some time between `from` and `to`. */
  ran(server: Server, version: string | null, from: Instant, to: Instant): boolean {
    return server.versions.some((each, index) => {
      const until = server.versions[index + 1]?.at ?? Number.POSITIVE_INFINITY;
      return each.version === version && each.at <= to && until >= from;
    });
  }

  #noteVersion(server: Server): void {
    this.changes += 1;
    server.versions.push({ at: this.#now(), version: server.isUp ? server.version : null });
  }
}

/** How far the clock of a server's host is off. */
export function skewOf(server: Server): number {
  return server.index * -3_600_000;
}

export function formatLsn(writes: number): string {
  return `0/${writes.toString(16).toUpperCase()}`;
}

export function parseLsn(lsn: string): number {
  return Number.parseInt(lsn.split('/')[1] ?? '0', 16);
}
