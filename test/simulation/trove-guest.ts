/**
 * A guest that behaves like Trove's own agent: no journal, no version, no attempt. It reports the state of
 * its server now and then, takes a message off its queue before it acts, carries out every order, and answers
 * its caller, or does not.
 */
import { type Bus, CONDUCTOR_TOPIC, guestTopic, type Request } from '../../src/bus/bus.ts';
import type { Instant } from '../../src/core/domain.ts';
import type { GuestChecks } from './checks/guests.ts';
import type { Life } from './process.ts';
import type { Random } from './random.ts';
import type { Guests } from './scenario.ts';
import type { Server, Servers } from './servers.ts';

/** As in oslo.messaging: this many ids of messages are kept, and a message with a known id is skipped. */
const KNOWN_IDS = 16;
/** Whatever runs the server restarts it after a crash. */
const REVIVE_MS = 2_000;

interface TroveGuestDeps {
  readonly instance_id: string;
  readonly server: Server;
  readonly servers: Servers;
  readonly life: Life;
  readonly bus: Bus;
  readonly random: Random;
  readonly now: () => Instant;
  readonly guests: () => Guests;
  readonly checks: GuestChecks;
  readonly heartbeat_ms: number;
  readonly skew_ms: number;
}

export class TroveGuest {
  readonly #deps: TroveGuestDeps;
  readonly #known: string[] = [];

  constructor(deps: TroveGuestDeps) {
    this.#deps = deps;
  }

  async start(): Promise<void> {
    const { bus, instance_id } = this.#deps;
    void this.#pulse();
    const handler = (request: Request) => this.#handle(request);
    await bus.serve({ topic: guestTopic(instance_id), queue: 'own', prefetch: 1_000, handler });
  }

  async #pulse(): Promise<void> {
    for (;;) {
      this.#speak();
      await this.#deps.life.sleep(this.#deps.heartbeat_ms);
      this.#revive();
    }
  }

  #speak(): void {
    const { bus, instance_id, now, skew_ms } = this.#deps;
    const args = {
      instance_id,
      sent: (now() + skew_ms) / 1000,
      payload: { service_status: this.#status() },
    };
    bus.cast(CONDUCTOR_TOPIC, 'heartbeat', args).catch(() => undefined);
  }

  #status(): string {
    const { server, now } = this.#deps;
    if (!server.isUp) return server.isStarting ? 'running' : 'shutdown';
    return now() < server.sickUntil ? 'restart required' : 'healthy';
  }

  #revive(): void {
    const { server, servers, life } = this.#deps;
    if (server.isUp || server.isDownByUpgrade || server.isBroken) return;
    void life.sleep(REVIVE_MS).then(() => {
      if (!server.isDownByUpgrade && !server.isBroken) servers.start(server);
    });
  }

  /** A message that the agent was handling when it died is lost: it had been acknowledged on receipt. */
  async #handle({ method, args, unique_id, redelivered }: Request): Promise<unknown> {
    const { checks, server, random, life, guests } = this.#deps;
    if (redelivered || this.#known.includes(unique_id) || random.chance(guests().deaf)) return never();
    this.#known.push(unique_id);
    if (this.#known.length > KNOWN_IDS) this.#known.shift();
    await life.sleep(random.int(1, 100));
    if (method === 'upgrade') {
      const info = args['upgrade_info'] as { readonly datastore_version: string };
      return this.#upgrade(info.datastore_version);
    }
    if (random.chance(guests().fails)) throw new Error('it went wrong');
    if (method !== 'pre_upgrade' && method !== 'post_upgrade') return null;
    checks.executed(server, method, 'done');
    return method === 'pre_upgrade' ? { device: '/dev/vdb' } : null;
  }

  async #upgrade(to: string): Promise<unknown> {
    const { checks, server, servers, random, guests, life } = this.#deps;
    const { refuses, mute, idle, leaves_down, usual_ms } = guests();
    checks.troveOrdered(server);
    const answersNobody = random.chance(mute);
    if (random.chance(refuses)) {
      if (answersNobody) return never();
      throw new Error(`${server.version} to ${to} is not supported`);
    }
    if (!random.chance(idle)) {
      checks.takenDown(server, 'upgrade');
      servers.stop(server, 'upgrade');
      server.isDownByUpgrade = true;
      await life.sleep(random.int(1, usual_ms));
      if (random.chance(leaves_down)) throw new Error('no image');
      servers.setVersion(server, to);
      server.isStarting = true;
      this.#speak();
      await life.sleep(random.pick([10, 1_000, 20_000]));
      server.isBroken = false;
      server.isStarting = false;
      servers.start(server);
    }
    this.#speak();
    return answersNobody ? never() : null;
  }
}

function never(): Promise<never> {
  return new Promise(() => undefined);
}
