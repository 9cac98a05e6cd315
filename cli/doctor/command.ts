import type { Command } from 'commander';
import { CofferApiError } from '../../client/index.ts';
import { inspectBroker } from '../../src/bus/inspect.ts';
import {
  amqpConfig,
  amqpTls,
  ConfigError,
  loadConfig,
  redisConfig,
  redisPrefix,
  redisTls,
} from '../../src/config.ts';
import { counted } from '../../src/core/words.ts';
import { textOf } from '../../src/log.ts';
import { inspectRedis } from '../../src/store/inspect.ts';
import { EXIT } from '../failures.ts';
import { START_API } from '../installation.ts';
import type { Io } from '../io.ts';
import { prose } from '../output.ts';
import { originOf, type Session, sessionOf } from '../session.ts';
import {
  apiClock,
  bad,
  brokerFindings,
  type Finding,
  ok,
  redisFindings,
  reportFindings,
  skipped,
} from './findings.ts';
import { deadLetterFindings, troubleFindings } from './troubles.ts';

const TIMEOUT_MS = 10_000;
const SHARED_QUEUES = ['taskmanager', 'trove-conductor', 'coffer.dead-letters'];

/** `doctor`: checks everything that an installation depends on. */
export function addDoctorCommand(program: Command, io: Io, exit: (code: number) => void): void {
  program
    .command('doctor')
    .description('Check an installation, and say how to repair what is wrong.')
    .addHelpText(
      'after',
      `
Asks the API; and where COFFER_AMQP_URL or COFFER_REDIS_URL is set, RabbitMQ and Redis themselves, with
the other variables of the processes (COFFER_AMQP_QUEUES, COFFER_REDIS_CA_FILE …). It changes nothing.
Exits 1 if something is wrong; what only deserves a look doesn't count.

Examples:
  coffer doctor
  COFFER_AMQP_URL=amqp://… COFFER_REDIS_URL=redis://… coffer doctor --json`,
    )
    .action(async (_options, command: Command) => {
      const session = sessionOf(command, io);
      const looks = [lookAtApi(session, originOf(command)), lookAtRedis(io), lookAtBroker(io)];
      const findings = (await Promise.all(looks)).flat();
      const isWell = findings.every(({ state }) => state !== 'bad');
      session.output.result({ healthy: isWell, findings }, () => show(session, findings));
      if (!isWell) exit(EXIT.failed);
    });
}

function show({ output }: Session, findings: readonly Finding[]): void {
  const rows = findings.map(({ check, state, found, repair }) => [MARKS[state], check, found, repair]);
  output.table(['', 'Check', prose('Found'), prose('To do')], rows);
  output.line(summaryOf(findings));
}

/** A warning is not a fault, but it still counts as a result worth reporting. */
function summaryOf(findings: readonly Finding[]): string {
  const [wrong, looks] = (['bad', 'warning'] as const).map(
    (wanted) => findings.filter(({ state }) => state === wanted).length,
  ) as [number, number];
  const deserve = counted(looks, 'thing deserves', 'things deserve');
  if (wrong > 0) {
    const and = looks > 0 ? `, and ${deserve} a look` : '';
    return `${counted(wrong, 'thing is', 'things are')} wrong${and}.`;
  }
  return looks > 0 ? `Nothing is broken, but ${deserve} a look.` : 'Nothing is wrong.';
}

const MARKS: Readonly<Record<Finding['state'], string>> = {
  ok: 'ok',
  warning: 'look',
  bad: 'WRONG',
  skipped: '-',
};

async function lookAtApi({ client, tenant }: Session, origin: string): Promise<readonly Finding[]> {
  let ready: Response;
  try {
    ready = await fetch(`${origin}/health/ready`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch (error) {
    const start = `Start it: ${START_API}. Another one: --endpoint, or COFFER_ENDPOINT.`;
    return [bad('api', `${origin} can't be reached: ${causeOf(error)}`, start)];
  }
  const at = Date.now();
  return [
    await readiness(ready, origin),
    apiClock(ready.headers.get('date'), at),
    ...(await healthReport(client, tenant)),
  ];
}

async function readiness(ready: Response, origin: string): Promise<Finding> {
  const body: unknown = await ready.json().catch(() => null);
  const isOurs = typeof body === 'object' && body !== null && 'checks' in body;
  if (!isOurs) {
    return bad('api', `${origin} is not Coffer: HTTP ${ready.status}`, 'Set --endpoint, or COFFER_ENDPOINT.');
  }
  const { other_installations: others = [] } = body as { readonly other_installations?: readonly string[] };
  if (others.length > 0) {
    const found = `another installation (${others.join(', ')}) consumes from the same queues of RabbitMQ`;
    return bad(
      'api.installations',
      found,
      'Give each installation a virtual host of its own: docs/operate.md says how.',
    );
  }
  if (ready.ok) return ok('api', `${origin} answers, and reaches Redis and RabbitMQ`);
  const { message } = body as { readonly message?: string };
  return bad('api', `${origin} is not ready: ${message ?? ''}`, 'Its log says why it can not reach them.');
}

async function healthReport(client: Session['client'], tenant: string): Promise<readonly Finding[]> {
  try {
    const report = await client.health();
    const letters = await client.deadLetters.list().catch(() => null);
    return [
      ...reportFindings(report),
      ...troubleFindings(report, tenant),
      ...deadLetterFindings(report.rabbitmq.dead_letters, letters),
    ];
  } catch (error) {
    if (!(error instanceof CofferApiError)) throw error;
    if (error.status === 401 || error.status === 403) {
      return [skipped('report', `not for you: ${error.message}`, 'Ask with the token of an administrator.')];
    }
    return [bad('report', `the API can't say how its parts are: ${error.message}`, 'Its log says why.')];
  }
}

async function lookAtRedis({ env }: Io): Promise<readonly Finding[]> {
  if (!env['COFFER_REDIS_URL']) {
    return [skipped('redis', 'only as the API sees it', 'Set COFFER_REDIS_URL to have it looked at itself.')];
  }
  try {
    const config = loadConfig({ ...redisConfig, COFFER_REDIS_PREFIX: redisPrefix }, env);
    const { COFFER_REDIS_URL: url, COFFER_REDIS_PREFIX: prefix } = config;
    return [
      ok('redis', 'can be reached'),
      ...redisFindings(await inspectRedis(url, redisTls(config), prefix)),
    ];
  } catch (error) {
    return [away('redis', 'COFFER_REDIS_URL', error)];
  }
}

async function lookAtBroker({ env }: Io): Promise<readonly Finding[]> {
  if (!env['COFFER_AMQP_URL']) {
    return [
      skipped('rabbitmq', 'only as the API sees it', 'Set COFFER_AMQP_URL to have it looked at itself.'),
    ];
  }
  try {
    const config = loadConfig(amqpConfig, env);
    const facts = await inspectBroker({
      url: config.COFFER_AMQP_URL,
      tls: amqpTls(config),
      mode: config.COFFER_AMQP_QUEUES,
      exchange: config.COFFER_CONTROL_EXCHANGE,
      queues: SHARED_QUEUES,
    });
    return [ok('rabbitmq', 'can be reached'), ...brokerFindings(facts)];
  } catch (error) {
    return [away('rabbitmq', 'COFFER_AMQP_URL', error)];
  }
}

/** Never shows a URL, because the URL may hold a password. */
function away(check: string, variable: string, error: unknown): Finding {
  if (error instanceof ConfigError)
    return bad(check, error.message.replaceAll('\n', ' '), 'Correct the variables.');
  return bad(check, `can't be reached: ${textOf(error)}`, `Is it running, and is ${variable} right?`);
}

/** The message of fetch says only that it failed; the reason is in its cause. */
function causeOf(error: unknown): string {
  return error instanceof Error && error.cause !== undefined ? textOf(error.cause) : textOf(error);
}
