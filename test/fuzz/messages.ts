/**
 * Whole messages, as anybody with an account on RabbitMQ can put them into a queue: bytes that are no
 * message, torn and spoilt envelopes, properties and headers that lie, seals that are none. They go through
 * the real broker to real servers of all three topics, guarded as in the processes.
 */
import { randomUUID } from 'node:crypto';
import { type ConfirmChannel, connect, type Options } from 'amqplib';
import { pino } from 'pino';
import { openAmqpBus } from '../../src/bus/amqp.ts';
import {
  type Bus,
  DispatchError,
  type Handler,
  isPassing,
  RemoteError,
  type ServeOptions,
} from '../../src/bus/bus.ts';
import { encodeBody, newUniqueId, requestBody } from '../../src/bus/envelope.ts';
import { openKey } from '../../src/bus/instance-key.ts';
import type { Body, Protection } from '../../src/bus/protection.ts';
import { newSecret, sealedProtection } from '../../src/bus/sealed.ts';
import { TROVE_TASKMANAGER_KEY, troveProtection } from '../../src/bus/trove-secure.ts';
import { CofferError } from '../../src/core/errors.ts';
import { Keyring, taskmanagerGuard } from '../../taskmanager/keyring.ts';
import type { Harness } from '../integration/api-harness.ts';
import { testUrls, uniqueName } from '../support/services.ts';
import { until } from '../support/stack.ts';
import { Counts } from './counts.ts';
import type { FuzzOptions, FuzzReport } from './fuzzer.ts';
import { callsTo, startGuest, type Taskmanager, type Topic } from './targets.ts';
import { Dice } from './values.ts';
import { type Ids, newIds, snapshot } from './world.ts';

/** Messages that are under way at once. */
const CHUNK = 100;
/** One that is delivered more often goes round and round. */
const MAX_DELIVERIES = 8;
/** Longer than it takes a loaded machine to be done with a chunk, retries included. */
const DRAINED_MS = 120_000;

/** Sends `inputs` messages, the same ones for the same seed. */
export async function fuzzMessages(
  api: Harness,
  taskmanager: Taskmanager,
  { inputs, seed }: FuzzOptions,
): Promise<FuzzReport> {
  const bystander = await newIds(api, 'bystander', 't2', {});
  const before = await snapshot(api, bystander);
  const counts = new Counts();
  const findings: string[] = [];
  for (let sent = 0; sent < inputs && findings.length === 0; sent += CHUNK) {
    const own = await newIds(api, `own-${sent}`, 't1', {});
    const round = await openRound(api, taskmanager, own, counts);
    try {
      const count = Math.min(CHUNK, inputs - sent);
      const problems = await round.send(Array.from({ length: count }, (_, i) => seed * 1_000_003 + sent + i));
      findings.push(...problems.map((problem) => `inputs ${sent}+ of seed ${seed}: ${problem}`));
      if ((await snapshot(api, bystander)) !== before)
        findings.push(`up to input ${sent + count}: the bystander's records have changed`);
    } finally {
      await round.close();
    }
  }
  return { counts, findings };
}

interface Served {
  readonly topic: string;
  readonly kind: Topic;
  readonly options: Omit<ServeOptions, 'topic'>;
}

/** Three servers on topics of their own, and a broker's client that keeps to no rule. */
async function openRound(api: Harness, taskmanager: Taskmanager, own: Ids, counts: Counts) {
  const { amqp_url: url } = testUrls();
  const name = uniqueName('raw');
  const count = (topic: string, outcome: string) =>
    counts.add(`message to ${topic.slice(name.length + 1)}`, outcome);
  const log = pino({ level: 'warn' }, { write: (line: string) => count(...outcomeIn(line)) });
  const bus = await openAmqpBus({ url, name, log, control_exchange: name, dead_letters: `${name}.dead` });
  const problems: string[] = [];
  const watch = watchFor(problems, count);
  const guest = await startGuest(own.instance);
  const keyring = new Keyring({ store: api.store, master: api.masterKey, now: Date.now });
  const key = openKey(api.masterKey, own.instance, (await api.store.keys.get(own.instance)) ?? '');
  const protection = sealedProtection({ instance_id: own.instance, secret: key.secret, now: Date.now });
  const common = { queue: 'shared' as const, prefetch: 50, server: 'here' };
  const served: readonly Served[] = [
    {
      ...{ topic: `${name}-taskmanager`, kind: 'taskmanager' },
      options: {
        ...common,
        guard: taskmanagerGuard(TROVE_TASKMANAGER_KEY),
        handler: watch(`${name}-taskmanager`, taskmanager.requests),
      },
    },
    {
      ...{ topic: `${name}-conductor`, kind: 'conductor' },
      options: {
        ...common,
        guard: keyring.conductorGuard,
        handler: watch(`${name}-conductor`, taskmanager.reports),
      },
    },
    {
      ...{ topic: `${name}-guest`, kind: 'guest' },
      options: {
        ...common,
        queue: 'own',
        guard: async () => protection,
        handler: watch(`${name}-guest`, guest.handler),
      },
    },
  ];
  const connection = await connect(url);
  const channel = await connection.createConfirmChannel();
  const seals = { right: protection, wrong: strangerTo(own.instance), trove: troveSeal };
  return {
    async send(seeds: readonly number[]): Promise<readonly string[]> {
      const records = await snapshot(api, own);
      const serving = await Promise.all(served.map(({ topic, options }) => bus.serve({ topic, ...options })));
      for (const seed of seeds) {
        const dice = new Dice(seed, Object.values(own));
        const message = newMessage(dice, name, served, own, seals);
        counts.add(`message of ${message.kind}`, 'sent');
        if (message.mustNotCount) watch.forbid(message.unique_id);
        channel.publish(message.to.exchange, message.to.key, message.content, message.properties);
      }
      await channel.waitForConfirms();
      problems.push(...(await stillThere(channel, served, bus, serving)));
      if (!watch.hasChanged() && (await snapshot(api, own)) !== records)
        problems.push('nothing was done, and a record has changed');
      problems.push(...(await unexplained(bus)));
      return problems;
    },
    async close() {
      await guest.stop();
      await bus.close();
      const left = await connection.createChannel();
      for (const queue of [`${name}.dead`, ...served.flatMap(({ topic }) => [topic, `${topic}.here`])])
        await left.deleteQueue(queue);
      await connection.close();
    },
  };
}

/** What becomes of a message, by the line that the bus logs of it. */
function outcomeIn(line: string): [topic: string, outcome: string] {
  const {
    topic = '',
    msg,
    err,
  } = JSON.parse(line) as {
    topic?: string;
    msg: string;
    err?: { code?: string; type?: string };
  };
  return [topic, `message: ${msg}${err ? ` (${err.code ?? err.type})` : ''}`];
}

/** Handlers as they are, and what must not happen in them. */
function watchFor(problems: string[], count: (topic: string, outcome: string) => void) {
  const forbidden = new Set<string>();
  const taken = new Map<string, number>();
  let done = 0;
  const watch =
    (topic: string, handler: Handler): Handler =>
    async (request) => {
      const times = (taken.get(request.unique_id) ?? 0) + 1;
      taken.set(request.unique_id, times);
      const what = `${request.method} with ${JSON.stringify(request.args).slice(0, 400)}`;
      if (times > MAX_DELIVERIES) problems.push(`${what} comes again and again`);
      if (forbidden.has(request.unique_id)) problems.push(`${what} should never have got so far`);
      try {
        const result = await handler(request);
        done += 1;
        count(topic, 'message: done');
        return result;
      } catch (error) {
        // While Redis or RabbitMQ is away it comes as often as it takes.
        if (isPassing(error)) taken.set(request.unique_id, times - 1);
        if (!isRefusal(error))
          problems.push(`${what} failed with ${error instanceof Error ? error.stack : String(error)}`);
        throw error;
      }
    };
  return Object.assign(watch, {
    forbid: (unique_id: string) => forbidden.add(unique_id),
    hasChanged: () => done > 0,
  });
}

function isRefusal(error: unknown): boolean {
  if (error instanceof CofferError) return error.status < 500 || error.status === 503;
  return error instanceof DispatchError || error instanceof RemoteError;
}

/** Waits until every queue is empty and no message in work; says which are not. */
async function stillThere(
  channel: ConfirmChannel,
  served: readonly Served[],
  bus: Bus,
  serving: readonly { stop(): Promise<void> }[],
): Promise<readonly string[]> {
  const waiting = async () => {
    const depths = served.map(async ({ topic }) => (await channel.checkQueue(topic)).messageCount);
    return (await Promise.all(depths)).reduce((sum, depth) => sum + depth, 0);
  };
  const deadline = Date.now() + DRAINED_MS;
  let now = serving;
  for (;;) {
    await until('the queues are empty', async () => (await waiting()) === 0, DRAINED_MS).catch(
      () => undefined,
    );
    // A server that stops waits for what it has in hand, and that may be put back.
    await Promise.all(now.map((one) => one.stop()));
    const left = await waiting();
    if (left === 0) return [];
    if (Date.now() > deadline) return [`${left} messages are never done with`];
    now = await Promise.all(served.map(({ topic, options }) => bus.serve({ topic, ...options })));
  }
}

/** Every dead letter says why it is one. */
async function unexplained(bus: Bus): Promise<readonly string[]> {
  const { letters } = (await bus.deadLetters?.list(2 * CHUNK)) ?? { letters: [] };
  return letters.flatMap(({ reason, topic, content }) =>
    reason && topic
      ? []
      : [`a dead letter without a reason: ${Buffer.from(content).toString().slice(0, 200)}`],
  );
}

interface Message {
  /** What it was before it was spoilt. */
  readonly kind: string;
  readonly to: { readonly exchange: string; readonly key: string };
  readonly content: Buffer;
  readonly properties: Options.Publish;
  readonly unique_id: string;
  /** Of nobody who may say it: it must not reach a handler. */
  readonly mustNotCount: boolean;
}

interface Seals {
  readonly right: Protection;
  readonly wrong: Protection;
  readonly trove: Protection;
}

const troveSeal = troveProtection({ instance_id: '', key: TROVE_TASKMANAGER_KEY });

function strangerTo(instance_id: string): Protection {
  return sealedProtection({ instance_id, secret: newSecret(), now: Date.now });
}

function newMessage(
  dice: Dice,
  exchange: string,
  served: readonly Served[],
  own: Ids,
  seals: Seals,
): Message {
  const [kind, method, args] = dice.pick(callsTo(own));
  const { topic } = served.find((one) => one.kind === kind) ?? dice.pick(served);
  const unique_id = newUniqueId();
  const body = requestOf(dice, method, args, unique_id, topic);
  const { sealed, mustNotCount } = sealFor(dice, kind, topic, body, seals);
  return {
    kind: `${kind}.${method}`,
    to: { exchange: dice.pick(waysTo(exchange, topic, kind)), key: topic },
    content: dice.chance(mustNotCount ? 100 : 30) ? encodeBody(sealed) : spoil(dice, sealed),
    properties: propertiesFor(dice),
    unique_id,
    mustNotCount,
  };
}

/** Mostly by topic; straight into the queue; and to all servers of a topic, where a guest's has none. */
function waysTo(exchange: string, topic: string, kind: Topic): readonly string[] {
  return [exchange, exchange, exchange, '', kind === 'guest' ? exchange : `${topic}_fanout`];
}

/** Mostly a right request; where the answer is to go is anybody's guess, our own queues included. */
function requestOf(dice: Dice, method: string, args: object, unique_id: string, topic: string): Body {
  const context = { request_id: 'req-1', tenant_id: 't1', user: 'ann', is_admin: true };
  const right = { method, args: args as Body, version: '1.0', namespace: null, unique_id, context };
  const reply_to = dice.chance(40)
    ? {
        queue: dice.pick([topic, `${topic}.here`, `reply_${newUniqueId()}`, '', dice.text()]),
        msg_id: dice.pick([newUniqueId(), dice.text()]),
        monitor_s: dice.pick([null, 1e-9, 0.2, 1e308, 4_294_968]),
      }
    : null;
  return requestBody({ ...right, reply_to });
}

/** Who may say it, and who only says so. */
function sealFor(
  dice: Dice,
  kind: Topic,
  topic: string,
  body: Body,
  { right, wrong, trove }: Seals,
): { readonly sealed: Body; readonly mustNotCount: boolean } {
  if (kind === 'taskmanager') {
    const sealed = dice.chance(30) ? trove.sealRequest(body, topic) : body;
    return { sealed, mustNotCount: false };
  }
  switch (dice.below(6)) {
    case 0:
      return { sealed: body, mustNotCount: true };
    case 1:
      return { sealed: wrong.sealRequest(body, topic), mustNotCount: true };
    case 2:
      return { sealed: right.sealRequest(body, `${topic}x`), mustNotCount: true };
    case 3: {
      const changed = { ...right.sealRequest(body, topic), method: 'demote', version: '1.1' };
      return { sealed: changed, mustNotCount: true };
    }
    default:
      return { sealed: right.sealRequest(body, topic), mustNotCount: false };
  }
}

/** The same message, but for some of its bytes, its wrapping or its keys. */
function spoil(dice: Dice, body: Body): Buffer {
  const whole = encodeBody(body);
  const inner = JSON.stringify(body);
  const wrapped = (message: string, version = '"2.0"') =>
    Buffer.from(`{"oslo.version":${version},"oslo.message":${message}}`);
  const deep = 1 + dice.below(3_000);
  return dice.pick([
    () => Buffer.from(Array.from({ length: dice.below(600) }, () => dice.below(256))),
    () => Buffer.from(dice.malformed()),
    () => whole.subarray(0, dice.below(whole.length)),
    () => flipped(dice, whole),
    () => Buffer.concat([whole, whole]),
    () => Buffer.from(whole.toString(), 'utf16le'),
    () => wrapped(inner),
    () => wrapped(dice.json()),
    () => wrapped(JSON.stringify(whole.toString())),
    () => wrapped(JSON.stringify(inner.slice(0, dice.below(inner.length)))),
    () => wrapped(JSON.stringify(inner), dice.json(1)),
    () => wrapped(JSON.stringify(dice.spoilt(body))),
    () => Buffer.from(inner),
    () => Buffer.from(dice.spoilt(body)),
    () => wrapped(JSON.stringify(`{"__proto__":${inner},"constructor":${inner},${inner.slice(1)}`)),
    () => wrapped(JSON.stringify(inner.replace('{', `{"x":${'['.repeat(deep)}${']'.repeat(deep)},`))),
    () =>
      wrapped(
        JSON.stringify(
          inner.replace(/"args":\{/, `"args":{"x":${'{"a":'.repeat(deep)}1${'}'.repeat(deep)},`),
        ),
      ),
  ])();
}

function flipped(dice: Dice, whole: Buffer): Buffer {
  const bytes = Buffer.from(whole);
  for (let n = 1 + dice.below(4); n > 0; n--) bytes[dice.below(bytes.length)] = dice.below(256);
  return bytes;
}

/** What nobody checks on the way: types that lie, counts that were never counted, headers as long as a frame takes. */
function propertiesFor(dice: Dice): Options.Publish {
  const headers: Record<string, unknown> = {};
  const number = () => dice.pick([-1, 0, 3, 7, 1e9, 'many', true, null, { a: 1 }, [1]]);
  if (dice.chance(15)) headers['x-delivery-count'] = number();
  if (dice.chance(10)) headers['coffer-again'] = dice.pick([true, 'yes', 1]);
  if (dice.chance(10)) headers['x-death'] = dice.pick([[], 'x', [{ count: 1e9, queue: 'q' }]]);
  if (dice.chance(10)) headers[dice.chance(50) ? '__proto__' : 'constructor'] = 'x';
  if (dice.chance(10)) headers['huge'] = 'x'.repeat(dice.below(50_000));
  return {
    headers,
    contentType: dice.pick([
      'application/json',
      'application/json',
      'text/plain',
      'application/x-msgpack',
      '',
    ]),
    contentEncoding: dice.pick(['utf-8', 'utf-8', 'gzip', 'utf-16', '']),
    persistent: dice.chance(80),
    priority: dice.pick([0, 0, 9]),
    messageId: dice.pick([randomUUID(), '']),
    ...(dice.chance(10) && { correlationId: dice.key().slice(0, 40), replyTo: 'amq.rabbitmq.reply-to.x' }),
    ...(dice.chance(10) && { expiration: dice.pick(['0', '1', '60000']) }),
  };
}
