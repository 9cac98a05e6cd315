/**
 * The doctor's findings. Each finding says in which state a part is, and how to repair a part that is not
 * well.
 */

import type { HealthReportDocument } from '../../client/index.ts';
import type { BrokerFacts } from '../../src/bus/inspect.ts';
import { counted } from '../../src/core/words.ts';
import type { RedisFacts } from '../../src/store/inspect.ts';

export interface Finding {
  /** What was checked, e.g. `redis.persistence`. The name is stable. */
  readonly check: string;
  /** `bad`: something does not work, or will be lost. `warning`: it works, but somebody should look at it. */
  readonly state: 'ok' | 'warning' | 'bad' | 'skipped';
  readonly found: string;
  /** What to do; null where there is nothing to do. */
  readonly repair: string | null;
}

/** Records carry times of several clocks. Leases and deadlines tolerate a small difference. */
const SKEW_WARNING_MS = 2_000;
const SKEW_BAD_MS = 10_000;
/** The Date header has a resolution of one second. */
const DATE_HEADER_MS = 1_000;
/**
 * The oldest releases with quorum queues (RabbitMQ), and with streams and scripts (Redis), as Coffer uses
 * them.
 */
const OLDEST_RABBITMQ = '3.8';
const OLDEST_REDIS = '6.2';
/** Above this share of `maxmemory`, new upgrades may soon be refused. */
const FULL = 0.9;
/** A sweep checks several times a second what is due. */
const OVERDUE_MS = 10_000;

export function ok(check: string, found: string): Finding {
  return { check, state: 'ok', found, repair: null };
}

export function skipped(check: string, found: string, repair: string): Finding {
  return { check, state: 'skipped', found, repair };
}

export function warning(check: string, found: string, repair: string): Finding {
  return { check, state: 'warning', found, repair };
}

export function bad(check: string, found: string, repair: string): Finding {
  return { check, state: 'bad', found, repair };
}

/** `ahead_ms`: by how much the clock is ahead of the local clock. */
export function clockFinding(check: string, whose: string, ahead_ms: number, precision_ms = 0): Finding {
  const off = Math.max(0, Math.abs(ahead_ms) - precision_ms);
  const found = `the clock of ${whose} is ${(Math.abs(ahead_ms) / 1000).toFixed(1)} s ${ahead_ms < 0 ? 'behind' : 'ahead of'} the one here`;
  const repair =
    'Set both right, e.g. with chrony or systemd-timesyncd: guests whose clocks are off are refused.';
  if (off > SKEW_BAD_MS) return bad(check, found, repair);
  if (off > SKEW_WARNING_MS) return warning(check, found, repair);
  return ok(check, `the clock of ${whose} agrees with the one here`);
}

/** `date`: the Date header of an answer that arrived at `at`, milliseconds since the epoch. */
export function apiClock(date: string | null, at: number): Finding {
  const told = Date.parse(date ?? '');
  if (Number.isNaN(told))
    return skipped('api.clock', 'the API told no time', 'Is it behind a proxy that drops Date?');
  // The header is truncated to whole seconds: adding half a second is the best guess.
  return clockFinding('api.clock', 'the API', told + DATE_HEADER_MS / 2 - at, DATE_HEADER_MS);
}

export function redisFindings(facts: RedisFacts): readonly Finding[] {
  const { version, settings, used_bytes, max_bytes, clock_ahead_ms } = facts;
  return [
    versionFinding('redis.version', 'Redis', version, OLDEST_REDIS),
    writeFinding(facts.refusal),
    ...(settings ? settingFindings(settings) : [notAllowed()]),
    memoryFinding(used_bytes, max_bytes),
    clockFinding('redis.clock', 'Redis', clock_ahead_ms),
  ];
}

function writeFinding(refusal: RedisFacts['refusal']): Finding {
  if (refusal === null) return ok('redis.writes', 'takes writes');
  const { found, repair, said } = refusal;
  return bad('redis.writes', `${found} (${said})`, `${repair.charAt(0).toUpperCase()}${repair.slice(1)}.`);
}

function notAllowed(): Finding {
  const how = 'Look there yourself: appendonly must be yes, maxmemory-policy noeviction.';
  return skipped('redis.settings', 'CONFIG is not allowed on this Redis', how);
}

function settingFindings(settings: NonNullable<RedisFacts['settings']>): readonly Finding[] {
  const { appendonly, appendfsync, maxmemory_policy } = settings;
  const persistent =
    appendonly === 'yes'
      ? ok('redis.persistence', `appendonly yes, appendfsync ${appendfsync}`)
      : bad(
          'redis.persistence',
          `appendonly ${appendonly}: a restart of Redis forgets upgrades`,
          'redis-cli CONFIG SET appendonly yes; and the same in redis.conf.',
        );
  const policy =
    maxmemory_policy === 'noeviction'
      ? ok('redis.eviction', 'maxmemory-policy noeviction')
      : bad(
          'redis.eviction',
          `maxmemory-policy ${maxmemory_policy}: a full Redis throws records away`,
          'redis-cli CONFIG SET maxmemory-policy noeviction; and the same in redis.conf.',
        );
  return [persistent, policy];
}

function memoryFinding(used: number, max: number | null): Finding {
  const mib = (bytes: number) => `${Math.round(bytes / 1024 / 1024)} MiB`;
  if (max === null) return ok('redis.memory', `${mib(used)} used, without a limit`);
  const found = `${mib(used)} of ${mib(max)} used`;
  if (used < max * FULL) return ok('redis.memory', found);
  return warning('redis.memory', found, 'Raise maxmemory: a full Redis refuses new upgrades and clusters.');
}

export function brokerFindings({ version, blocked, declared }: BrokerFacts): readonly Finding[] {
  const alarm =
    blocked === null
      ? ok('rabbitmq.alarms', 'no alarm')
      : bad(
          'rabbitmq.alarms',
          `RabbitMQ takes no messages: ${blocked}`,
          'Free memory or disk on its host: rabbitmq-diagnostics alarms says which.',
        );
  return [
    versionFinding('rabbitmq.version', 'RabbitMQ', version, OLDEST_RABBITMQ),
    alarm,
    ...declared.map(declaredFinding),
  ];
}

function declaredFinding({ name, state, detail }: BrokerFacts['declared'][number]): Finding {
  const check = `rabbitmq.declared.${name}`;
  if (state === 'as ours') return ok(check, 'declared as our processes do');
  if (state === 'missing') {
    return warning(check, 'is not there', 'It is declared by the first api or taskmanager that starts.');
  }
  return bad(
    check,
    `is declared in another way: ${detail ?? ''}`,
    'Set COFFER_AMQP_QUEUES, for every process, as those set theirs who share this RabbitMQ; or delete it while nothing runs.',
  );
}

function versionFinding(check: string, what: string, version: string, oldest: string): Finding {
  if (compare(version, oldest) >= 0) return ok(check, `${what} ${version}`);
  return bad(check, `${what} ${version} is too old`, `Upgrade it to ${oldest} or later.`);
}

function compare(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}

/** What the api itself reports to an administrator. */
export function reportFindings(report: HealthReportDocument): readonly Finding[] {
  return [
    taskmanagers(report.taskmanagers),
    ...(report.work ? [overdue(report.work), casts(report.work)] : []),
    ...(report.batch_requests ? [batchRequests(report.batch_requests)] : []),
  ];
}

function taskmanagers(count: HealthReportDocument['taskmanagers']): Finding {
  const check = 'taskmanagers';
  if (count === null) return skipped(check, 'not known while RabbitMQ is away', 'Mend RabbitMQ first.');
  if (count === 0) {
    const start = 'Start one: npx coffer-taskmanager. Nothing that was accepted is lost meanwhile.';
    return bad(check, 'no taskmanager takes messages: upgrades do not go on', start);
  }
  if (count > 1) return ok(check, `${count} take messages`);
  return warning(check, 'one takes messages', 'Run two: while the only one is away nothing goes on.');
}

function overdue({ overdue: count, overdue_ms }: NonNullable<HealthReportDocument['work']>): Finding {
  if (count === 0 || overdue_ms < OVERDUE_MS) return ok('work.overdue', 'nothing waits to be looked at');
  const found = `${counted(count, 'upgrade or cluster waits', 'upgrades or clusters wait')} to be looked at, for ${Math.round(overdue_ms / 1000)} s`;
  return bad(
    'work.overdue',
    found,
    'Are taskmanagers running, and does their log say why not? Start more of them.',
  );
}

function casts(work: NonNullable<HealthReportDocument['work']>): Finding {
  const { pending_casts: count, pending_casts_ms } = work;
  if (count === 0 || pending_casts_ms < OVERDUE_MS) return ok('work.casts', 'no message waits for RabbitMQ');
  const found = `${counted(count, 'message is safe in Redis and waits', 'messages are safe in Redis and wait')} for RabbitMQ, for ${Math.round(pending_casts_ms / 1000)} s`;
  return bad('work.casts', found, 'Mend RabbitMQ; they go out by themselves.');
}

function batchRequests({ failed, latest }: NonNullable<HealthReportDocument['batch_requests']>): Finding {
  const check = 'batches.requests';
  if (failed === 0) return ok(check, 'no job that asked for a batch has failed');
  const shown = latest.map(({ job_id, reason, at }) => `job ${job_id} at ${at}: ${reason}`).join('; ');
  const count =
    failed === 1 ? '1 job that asked for a batch has' : `${failed} jobs that asked for a batch have`;
  return warning(
    check,
    `${count} failed. ${shown}`,
    'Mend the cause, then have the service that added the job add a new one. BullMQ forgets a failed job after a month.',
  );
}
