import { type Bus, CONDUCTOR_TOPIC } from '../src/bus/bus.ts';
import type { Protection } from '../src/bus/protection.ts';
import { heartbeatArgs } from '../src/contract/rpc.ts';
import type { Instant } from '../src/core/domain.ts';
import type { Logger } from '../src/log.ts';
import type { Sleep } from '../src/service.ts';
import type { Driver, InstanceConfig } from './driver.ts';
import type { Journal } from './journal.ts';

export interface HeartbeatDeps {
  readonly config: InstanceConfig;
  readonly driver: Driver;
  readonly journal: Journal;
  readonly bus: Bus;
  readonly log: Logger;
  readonly now: () => Instant;
  readonly sleep: Sleep;
  /** The time between two heartbeats; news is sent immediately. */
  readonly heartbeat_ms: () => number;
}

/** What the agent adds to its driver's report. */
interface Circumstances {
  readonly isUpgrading: boolean;
  /** Why the server could not be started. */
  readonly trouble: string | null;
  /** Why the journal could not be written. */
  readonly fault: string | null;
  /** Protects all messages to and from this instance; null where nothing is protected. */
  readonly protection: Protection | null;
}

const AGENT = 'coffer/0.1';
/** The identity under which the agent sends its reports. */
const AS_GUEST = { tenant_id: null, user: null, is_admin: true };
/**
 * An agent that sends heartbeats less often than this says so in them; otherwise it would be considered away.
 */
const OFTEN_MS = 5_000;
/** An agent that has just started needs a moment to connect. */
const HEARD_TRIES = 4;
const HEARD_PAUSE_MS = 500;

/** Reports the state of one instance's server, and the outcome of the last attempt. */
export class Heartbeats {
  readonly #deps: HeartbeatDeps;
  readonly #circumstances: (now: Instant) => Circumstances;

  constructor(deps: HeartbeatDeps, circumstances: (now: Instant) => Circumstances) {
    this.#deps = deps;
    this.#circumstances = circumstances;
  }

  /** Never rejects: the next heartbeat makes up for one that could not be sent. */
  async send(): Promise<void> {
    const { config, log } = this.#deps;
    try {
      await this.#speak();
    } catch (err) {
      log.debug({ err, instance_id: config.instance_id }, 'a heartbeat did not get out');
    }
  }

  /**
   * Between a primary's stop and its successor's promotion nobody can write, and both are messages: without
   * RabbitMQ that time would not end. So the primary stops only when RabbitMQ can take the report of its
   * stop; otherwise the order fails, and the primary keeps serving.
   */
  async assureHeard(stopped: AbortSignal): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#speak();
      } catch (cause) {
        const message =
          'RabbitMQ takes no message now: the primary goes on serving, as nobody would hear of its stop';
        if (tries === HEARD_TRIES || stopped.aborted) throw new Error(message, { cause });
        await this.#deps.sleep(HEARD_PAUSE_MS, stopped);
      }
    }
  }

  /** Resolves when RabbitMQ has the heartbeat. */
  async #speak(): Promise<void> {
    const { bus, config, driver, heartbeat_ms, journal, now } = this.#deps;
    const period_ms = heartbeat_ms();
    const sent = now();
    // Taken before the server is looked at: what a report says of the server holds after the attempt's end. A
    // former primary would otherwise report its stop and, from before the stop, that it is the primary.
    const { entry } = journal;
    const wasUpgrading = this.#circumstances(sent).isUpgrading;
    const health = await driver.health();
    const { trouble, fault, protection, ...after } = this.#circumstances(sent);
    const isUpgrading = wasUpgrading || after.isUpgrading;
    const message = [health.message, fault].filter(Boolean).join('; ');
    const report = {
      ...health,
      sent,
      ...(isUpgrading && health.service_status !== 'healthy' && { service_status: 'upgrading' as const }),
      ...(fault !== null && { message }),
      ...(trouble !== null && { service_status: 'failed' as const, message: trouble }),
      attempt: entry?.attempt ?? null,
      ...(period_ms > OFTEN_MS && { heartbeat_ms: Math.ceil(period_ms) }),
      agent: AGENT,
    };
    const args = heartbeatArgs(config.instance_id, report);
    // Until the next order, the heartbeat reports on the last one.
    const request_id = entry?.request_id;
    const context = request_id === undefined ? {} : { context: { ...AS_GUEST, request_id } };
    const { installation } = config;
    await bus.cast(CONDUCTOR_TOPIC, 'heartbeat', args, { ...context, installation, protection });
  }
}
