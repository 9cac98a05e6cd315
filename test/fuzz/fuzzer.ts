import { randomUUID } from 'node:crypto';
import type { Authenticate } from '../../api/auth.ts';
import { DispatchError, type Handler } from '../../src/bus/bus.ts';
import { decodeRequest, MalformedMessage } from '../../src/bus/envelope.ts';
import { CofferError } from '../../src/core/errors.ts';
import { sleep } from '../../src/service.ts';
import { beginUpgrade, buildCluster, type Harness } from '../integration/api-harness.ts';
import { argsFor, bodyFor, type Operation, operationsOf, startGuest, type Topic } from './targets.ts';
import { Dice } from './values.ts';

/** Longer than anything takes that does not hang. */
const HANG_MS = 30_000;
/** What inputs were allowed to do leaves a cluster in a state in which little can be done: begin anew. */
const RENEW_EVERY = 250;

/** Ann is a member of one tenant, Eve an administrator, who is never told of the bystander. */
export const authenticate: Authenticate = async ({ headers }) => {
  const user = headers['x-auth-token'];
  if (user !== 'ann' && user !== 'eve') throw new CofferError('unauthorized', 'Who are you?');
  const [project_id, roles] = user === 'ann' ? ['t1', ['member']] : ['ops', ['admin']];
  return { user, project_id, credentials: { user_id: user, project_id, roles }, is_confined: false };
};

export interface Ids {
  readonly cluster: string;
  readonly instance: string;
  readonly upgrade: string;
}

export interface FuzzReport {
  readonly inputs: number;
  /** How often each answer came: `http 404`, `rpc cluster_busy`. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** What must not be; each names the number of its input. */
  readonly findings: readonly string[];
}

/** Sends `inputs` inputs, the same ones for the same seed. Stops at the tenth finding. */
export async function fuzz(
  api: Harness,
  taskmanager: { readonly requests: Handler; readonly reports: Handler },
  { inputs, seed }: { readonly inputs: number; readonly seed: number },
): Promise<FuzzReport> {
  const operations = operationsOf(api);
  const bystander = await newIds(api, 'bystander', 't2', { 'x-auth-token': 'eve' });
  const before = await snapshot(api, bystander);
  const outcomes: Record<string, number> = {};
  const findings: string[] = [];
  let own = bystander;
  let guest = await startGuest(randomUUID());
  for (let i = 0; i < inputs && findings.length < 10; i++) {
    if (i % RENEW_EVERY === 0) {
      own = await newIds(api, `own-${i}`, 't1', { 'x-auth-token': 'ann' });
      await guest.stop();
      guest = await startGuest(own.instance);
    }
    const input = { api, operations, own, bystander, taskmanager, guest: guest.handler };
    const { outcome, problems } = await within(HANG_MS, one(input, seed * 1_000_003 + i));
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    findings.push(...problems.map((problem) => `input ${i} of seed ${seed}: ${problem}`));
    if (i % RENEW_EVERY === RENEW_EVERY - 1 || i === inputs - 1) {
      if ((await snapshot(api, bystander)) !== before)
        findings.push(`up to input ${i}: the bystander's records have changed`);
    }
  }
  await guest.stop();
  // A machine under load may be late with an answer of Redis now and then; not often.
  const unavailable = (outcomes['http 503'] ?? 0) + (outcomes['rpc store_unavailable'] ?? 0);
  if (unavailable > 5 + inputs / 1000) findings.push(`${unavailable} times something was unavailable`);
  return { inputs, outcomes, findings };
}

interface Input {
  readonly api: Harness;
  readonly operations: readonly Operation[];
  readonly own: Ids;
  readonly bystander: Ids;
  readonly taskmanager: { readonly requests: Handler; readonly reports: Handler };
  readonly guest: Handler;
}

interface Outcome {
  readonly outcome: string;
  readonly problems: readonly string[];
}

async function one(input: Input, seed: number): Promise<Outcome> {
  const { own, bystander } = input;
  const ids = Object.values(own);
  const dice = new Dice(seed, ids);
  if (!dice.chance(65)) return sendMessage(input, dice);
  const user = dice.pick(['ann', 'ann', 'ann', 'eve', 'nobody']);
  const known = user === 'ann' ? [...ids, ...Object.values(bystander)] : ids;
  return sendRequest(input, new Dice(seed + 1, known), user);
}

async function sendRequest({ api, operations, own }: Input, dice: Dice, user: string): Promise<Outcome> {
  const { method, path } = dice.chance(95)
    ? dice.pick(operations)
    : { method: dice.pick(['GET', 'POST', 'PATCH', 'DELETE', 'PUT'] as const), path: `/${urlText(dice)}` };
  const fitting: Readonly<Record<string, string>> = {
    cluster_id: own.cluster,
    instance_id: own.instance,
    upgrade_id: own.upgrade,
  };
  const filled = path.replaceAll(/\{(\w+)\}/g, (_whole, name: string) => {
    if (name === 'tenant_id') return dice.chance(92) ? 't1' : urlText(dice);
    return dice.chance(60) ? (fitting[name] ?? urlText(dice)) : urlText(dice);
  });
  const query = dice.chance(25)
    ? `?${dice.pick(['limit', 'marker', 'last_event_id', 'x'])}=${urlText(dice)}`
    : '';
  // `//[` is no path that a client could ask for.
  const asked = `${filled}${query}`;
  const url = URL.canParse(asked, 'http://localhost') ? asked : `/${encodeURIComponent(asked)}`;
  const payload = method === 'GET' || dice.chance(5) ? undefined : payloadFor(dice, path);
  const headers = {
    ...(user !== 'nobody' && { 'x-auth-token': user }),
    ...(payload !== undefined && { 'content-type': dice.chance(97) ? 'application/json' : 'text/plain' }),
    ...(dice.chance(10) && { 'idempotency-key': dice.pick(['k1', 'k2', randomUUID(), 'ü', '']) }),
    // Else an event stream goes on until the upgrade ends.
    accept: 'application/json',
  };
  const before = await snapshot(api, own);
  const answer = await api.app.inject({ method, url, headers, ...(payload !== undefined && { payload }) });
  const what = `${method} ${url.slice(0, 200)} as ${user} with ${payload?.slice(0, 400)} was answered ${answer.statusCode}`;
  const problems: string[] = [];
  if (answer.statusCode >= 500 && answer.statusCode !== 503)
    problems.push(`${what}: ${answer.body.slice(0, 500)}`);
  if (answer.body !== '' && !isJson(answer.body))
    problems.push(`${what}, not in JSON: ${answer.body.slice(0, 500)}`);
  const mayChange = answer.statusCode < 300 && method !== 'GET';
  if (!mayChange && (await snapshot(api, own)) !== before) problems.push(`${what}, and a record has changed`);
  return { outcome: `http ${answer.statusCode}`, problems };
}

function payloadFor(dice: Dice, path: string): string {
  if (dice.chance(8)) return dice.malformed();
  const body = bodyFor(dice, path);
  return dice.chance(25) ? JSON.stringify(body) : dice.spoilt(body);
}

function urlText(dice: Dice): string {
  // A lone surrogate has no form in a URL.
  const wellFormed = dice.text().replaceAll(/\p{Cs}/gu, '\ufffd');
  return dice.chance(85) ? encodeURIComponent(wellFormed) : wellFormed.replaceAll(/[\s#?]/g, '');
}

async function sendMessage({ api, own, taskmanager, guest }: Input, dice: Dice): Promise<Outcome> {
  const [topic, method, args] = argsFor(dice, own);
  const content = Buffer.from(dice.chance(10) ? dice.malformed() : envelope(dice, method, args));
  const handlers: Readonly<Record<Topic, Handler>> = {
    taskmanager: taskmanager.requests,
    conductor: taskmanager.reports,
    guest,
  };
  const before = await snapshot(api, own);
  const what = `${content.toString().slice(0, 400)} to ${topic}`;
  try {
    const { method: asked, args: given, context, unique_id } = decodeRequest(content);
    await handlers[dice.chance(95) ? topic : dice.pick(['taskmanager', 'conductor', 'guest'] as const)]({
      ...{ method: asked, args: given, context, unique_id, redelivered: dice.chance(5) },
      keepAlive: () => undefined,
    } as Parameters<Handler>[0]);
    return { outcome: 'rpc done', problems: [] };
  } catch (error) {
    const problems = isRefusal(error)
      ? []
      : [`${what} failed with ${error instanceof Error ? error.stack : String(error)}`];
    if (topic !== 'guest' && (await snapshot(api, own)) !== before)
      problems.push(`${what} was refused, and a record has changed`);
    return { outcome: `rpc ${error instanceof CofferError ? error.code : 'malformed or unknown'}`, problems };
  }
}

/** An error that says whose fault it is: not ours. */
function isRefusal(error: unknown): boolean {
  if (error instanceof CofferError) return error.status < 500 || error.status === 503;
  return error instanceof MalformedMessage || error instanceof DispatchError;
}

/** As oslo.messaging puts it on the wire, spoilt on the outside, the inside or both. */
function envelope(dice: Dice, method: string, args: object): string {
  const message = {
    method: dice.chance(95) ? method : dice.text(),
    version: '1.0',
    _unique_id: randomUUID(),
    _context_tenant: 't1',
    _context_user: 'ann',
    _context_is_admin: dice.chance(50),
    _context_request_id: 'req-1',
  };
  const spoilt = dice.chance(80) ? JSON.stringify(message) : dice.spoilt(message);
  const inner = spoilt.startsWith('{')
    ? `${spoilt.slice(0, -1)}${spoilt === '{}' ? '' : ','}"args":${dice.spoilt(args)}}`
    : spoilt;
  if (dice.chance(5)) return inner;
  return JSON.stringify({ 'oslo.version': dice.chance(95) ? '2.0' : dice.text(), 'oslo.message': inner });
}

export async function newIds(
  api: Harness,
  name: string,
  tenant: string,
  headers: Readonly<Record<string, string>>,
): Promise<Ids> {
  return patiently(async () => {
    const cluster = await buildCluster(api, name, tenant, headers);
    const upgrade = await beginUpgrade({ ...api, url: `${api.origin}/v1.0/${tenant}` }, cluster, headers);
    const instance = (await api.store.getCluster(cluster))?.instances[0]?.id ?? '';
    return { cluster, instance, upgrade };
  });
}

export async function snapshot({ store }: Harness, { cluster, upgrade }: Ids): Promise<string> {
  const read = () => Promise.all([store.getCluster(cluster), store.getUpgrade(upgrade)]);
  return JSON.stringify(await patiently(read));
}

/** What the fuzzer itself does is tried again: Redis may be late. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (tries === 10) throw error;
      await sleep(500);
    }
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

async function within(ms: number, work: Promise<Outcome>): Promise<Outcome> {
  let timer: NodeJS.Timeout | undefined;
  const hung = new Promise<Outcome>((resolve) => {
    timer = setTimeout(() => resolve({ outcome: 'hung', problems: [`no answer within ${ms} ms`] }), ms);
  });
  return Promise.race([work, hung]).finally(() => clearTimeout(timer));
}
