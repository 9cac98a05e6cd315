/** One input after the other, each to the api, to an RPC server or from a queue of jobs, and what must not come of it. */
import { randomUUID } from 'node:crypto';
import { DispatchError, type Handler } from '../../src/bus/bus.ts';
import { decodeRequest, MalformedMessage } from '../../src/bus/envelope.ts';
import { CofferError } from '../../src/core/errors.ts';
import type { Harness } from '../integration/api-harness.ts';
import { Counts } from './counts.ts';
import {
  bodyFor,
  callsTo,
  jobFor,
  kindOf,
  meaningsOf,
  type Operation,
  operationsOf,
  startGuest,
  type Taskmanager,
  type Topic,
} from './targets.ts';
import { Dice } from './values.ts';
import { ANN, EVE, newThings, snapshot, type Things } from './world.ts';

/** Longer than anything takes that does not hang. */
const HANG_MS = 30_000;
/** What inputs were allowed to do leaves a cluster in a state in which little can be done: begin anew. */
const RENEW_EVERY = 250;

export interface FuzzReport {
  readonly counts: Counts;
  /** What must not be; each names the number of its input. */
  readonly findings: readonly string[];
}

export interface FuzzOptions {
  readonly inputs: number;
  readonly seed: number;
}

/** Sends `inputs` inputs, the same ones for the same seed. Stops at the tenth finding. */
export async function fuzz(
  api: Harness,
  taskmanager: Taskmanager,
  { inputs, seed }: FuzzOptions,
): Promise<FuzzReport> {
  const operations = operationsOf(api);
  const bystander = await newThings(api, 'bystander', 't2', EVE);
  const before = await snapshot(api, bystander);
  const counts = new Counts();
  const findings: string[] = [];
  let own = bystander;
  let guest = await startGuest(randomUUID());
  for (let i = 0; i < inputs && findings.length < 10; i++) {
    if (i % RENEW_EVERY === 0) {
      own = await newThings(api, `own-${i}`, 't1', ANN);
      await guest.stop();
      guest = await startGuest(own.instance);
    }
    const input = { api, operations, own, bystander, taskmanager, guest: guest.handler };
    const { kind, outcome, problems } = await within(HANG_MS, one(input, seed * 1_000_003 + i));
    counts.add(kind, outcome);
    findings.push(...problems.map((problem) => `input ${i} of seed ${seed}: ${problem}`));
    if (i % RENEW_EVERY === RENEW_EVERY - 1 || i === inputs - 1) {
      if ((await snapshot(api, bystander)) !== before)
        findings.push(`up to input ${i}: the bystander's records have changed`);
      findings.push(...errorsIn(api.lines.splice(0)).map((line) => `up to input ${i} the log says: ${line}`));
    }
  }
  await guest.stop();
  // A machine under load may be late with an answer of Redis now and then; not often.
  const { outcomes } = counts;
  const unavailable = (outcomes['http 503'] ?? 0) + (outcomes['rpc store_unavailable'] ?? 0);
  if (unavailable > 5 + inputs / 1000) findings.push(`${unavailable} times something was unavailable`);
  return { counts, findings };
}

/** Nothing that anybody sends is an error of ours. */
function errorsIn(lines: readonly string[]): readonly string[] {
  return lines.filter((line) => /^\{"level":[56]0,/.test(line)).map((line) => line.slice(0, 500));
}

interface Input {
  readonly api: Harness;
  readonly operations: readonly Operation[];
  readonly own: Things;
  readonly bystander: Things;
  readonly taskmanager: Taskmanager;
  readonly guest: Handler;
}

interface Outcome {
  /** What was sent, and how it was answered. */
  readonly kind: string;
  readonly outcome: string;
  readonly problems: readonly string[];
}

async function one(input: Input, seed: number): Promise<Outcome> {
  const { own, bystander } = input;
  const ids = Object.values(own);
  const dice = new Dice(seed, ids);
  if (dice.chance(4)) return sendJob(input, dice);
  if (!dice.chance(65)) return sendMessage(input, dice);
  const user = dice.pick(['ann', 'ann', 'ann', 'eve', 'eve', 'nobody']);
  const known = user === 'ann' ? [...ids, ...Object.values(bystander)] : ids;
  return sendRequest(input, new Dice(seed + 1, known), user);
}

/** A path that nothing is said of, or another verb for one that is. */
const ANYWHERE = 'any verb and path';

async function sendRequest({ api, operations, own }: Input, dice: Dice, user: string): Promise<Outcome> {
  const isKnown = dice.chance(95);
  const operation = dice.pick(operations);
  const verb = dice.pick(['GET', 'POST', 'PATCH', 'DELETE', 'PUT', 'HEAD', 'OPTIONS'] as const);
  const elsewhere = dice.chance(50) ? operation.path : `/${urlText(dice)}`;
  const { method, path } = isKnown ? operation : { method: verb, path: elsewhere };
  const url = urlFor(dice, path, meaningsOf(own));
  const payload = method === 'GET' || dice.chance(5) ? undefined : payloadFor(dice, path, own);
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
  const mayBePage = (operation.isPage || !isKnown) && answer.statusCode === 200;
  if (answer.body !== '' && !mayBePage && !isTold(answer.headers['content-type'], answer.body))
    problems.push(`${what}, not in JSON: ${answer.body.slice(0, 500)}`);
  const mayChange = answer.statusCode < 300 && method !== 'GET';
  if (!mayChange && (await snapshot(api, own)) !== before) problems.push(`${what}, and a record has changed`);
  return { kind: isKnown ? kindOf(operation) : ANYWHERE, outcome: `http ${answer.statusCode}`, problems };
}

function urlFor(dice: Dice, path: string, meanings: Readonly<Record<string, readonly string[]>>): string {
  const filled = path.replaceAll(/\{(\w+)\}/g, (_whole, name: string) => {
    if (name === 'tenant_id') return dice.chance(92) ? 't1' : urlText(dice);
    return dice.chance(60) ? dice.pick(meanings[name] ?? ['x']) : urlText(dice);
  });
  const query = dice.chance(25)
    ? `?${dice.pick(['limit', 'marker', 'last_event_id', 'include_clustered', 'state', 'format', 'x'])}=${urlText(dice)}`
    : '';
  // `//[` is no path that a client could ask for.
  const asked = `${filled}${query}`;
  return URL.canParse(asked, 'http://localhost') ? asked : `/${encodeURIComponent(asked)}`;
}

function payloadFor(dice: Dice, path: string, own: Things): string {
  if (dice.chance(8)) return dice.malformed();
  const body = bodyFor(dice, path, own);
  return dice.chance(25) ? JSON.stringify(body) : dice.spoilt(body);
}

function urlText(dice: Dice): string {
  // A lone surrogate has no form in a URL.
  const wellFormed = dice.text().replaceAll(/\p{Cs}/gu, '\ufffd');
  return dice.chance(85) ? encodeURIComponent(wellFormed) : wellFormed.replaceAll(/[\s#?]/g, '');
}

async function sendMessage({ api, own, taskmanager, guest }: Input, dice: Dice): Promise<Outcome> {
  const [topic, method, args] = dice.pick(callsTo(own));
  const content = Buffer.from(dice.chance(10) ? dice.malformed() : envelope(dice, method, args));
  const handlers: Readonly<Record<Topic, Handler>> = {
    taskmanager: taskmanager.requests,
    conductor: taskmanager.reports,
    guest,
  };
  const work = async () => {
    const { method: asked, args: given, context, unique_id } = decodeRequest(content);
    await handlers[dice.chance(95) ? topic : dice.pick(['taskmanager', 'conductor', 'guest'] as const)]({
      ...{ method: asked, args: given, context, unique_id, redelivered: dice.chance(5) },
      keepAlive: () => undefined,
    } as Parameters<Handler>[0]);
  };
  const what = `${content.toString().slice(0, 400)} to ${topic}`;
  return { kind: `${topic}.${method}`, ...(await outcomeOf({ api, own, what, work })) };
}

async function sendJob({ api, own, taskmanager }: Input, dice: Dice): Promise<Outcome> {
  const text = dice.chance(25) ? JSON.stringify(jobFor(own)) : dice.spoilt(jobFor(own));
  const name = dice.chance(80) ? randomUUID() : dice.text();
  const work = () => taskmanager.jobs({ name, data: JSON.parse(text) as unknown });
  return { kind: 'job', ...(await outcomeOf({ api, own, what: `job ${text.slice(0, 400)}`, work })) };
}

/** Of what has no answer: done, or refused and nothing changed. */
async function outcomeOf({
  api,
  own,
  what,
  work,
}: Pick<Input, 'api' | 'own'> & { what: string; work: () => Promise<unknown> }): Promise<
  Omit<Outcome, 'kind'>
> {
  const before = await snapshot(api, own);
  try {
    await work();
    return { outcome: 'rpc done', problems: [] };
  } catch (error) {
    const problems = isRefusal(error)
      ? []
      : [`${what} failed with ${error instanceof Error ? error.stack : String(error)}`];
    if ((await snapshot(api, own)) !== before) problems.push(`${what} was refused, and a record has changed`);
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

/** JSON, or what says that it is something else: a report as a table. */
function isTold(type: unknown, text: string): boolean {
  return isJson(text) || String(type).startsWith('text/csv');
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
    timer = setTimeout(
      () => resolve({ kind: 'hung', outcome: 'hung', problems: [`no answer within ${ms} ms`] }),
      ms,
    );
  });
  return Promise.race([work, hung]).finally(() => clearTimeout(timer));
}
