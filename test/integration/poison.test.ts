/**
 * Messages that come back again and again: because whoever handles them dies of it, or because their work
 * can't be done for long. Refused and failing ones: the conformance of the bus.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openAmqpBus } from '../../src/bus/amqp.ts';
import type { Bus } from '../../src/bus/bus.ts';
import { CofferError } from '../../src/core/errors.ts';
import { silentLog, testUrls, uniqueName } from '../support/services.ts';
import { until } from '../support/stack.ts';

const { amqp_url } = testUrls();
let name: string;
let bus: Bus;
beforeEach(async () => {
  name = uniqueName('poison');
  bus = await openAmqpBus({
    ...{ url: amqp_url, name, log: silentLog },
    ...{ control_exchange: name, dead_letters: `${name}.dead-letters` },
  });
});
afterEach(() => bus.close());

/** A process that serves the topic, says what it has done, and is gone at once when it meets `poison`. */
const dist = pathToFileURL(join(import.meta.dirname, '../../dist/src/bus/amqp.js')).href;
const WORKER = `
  import { openAmqpBus } from ${JSON.stringify(dist)};
  const [url, name] = process.argv.slice(1);
  const nothing = () => {};
  const log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
  const bus = await openAmqpBus({
    url, name, log, control_exchange: name, dead_letters: name + '.dead-letters',
  });
  const handler = async ({ method }) => {
    if (method === 'poison') process.kill(process.pid, 'SIGKILL');
    process.stdout.write(method + '\\n');
  };
  await bus.serve({ topic: name, queue: 'shared', prefetch: 10, handler });
`;

it('gives up the message that ends whoever handles it, and no other', async () => {
  // Serves nothing: there is a queue now, and casts can wait in it.
  await (
    await bus.serve({ topic: name, queue: 'shared', prefetch: 1, handler: async () => undefined })
  ).stop();
  for (const method of ['before', 'poison', 'after', 'after all']) await bus.cast(name, method, {});
  const handled: string[] = [];
  const isDone = () => ['before', 'after', 'after all'].every((method) => handled.includes(method));
  let deaths = 0;
  while (!isDone()) {
    // As a supervisor starts one after the other.
    const args = ['--input-type=module', '-e', WORKER, amqp_url, name];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    child.stdout.on('data', (chunk: Buffer) => {
      handled.push(...chunk.toString().trim().split('\n'));
      if (isDone()) child.kill('SIGTERM');
    });
    const signal = await new Promise((done) => child.once('close', (_code, by) => done(by)));
    if (signal === 'SIGKILL') deaths += 1;
  }
  expect(deaths).toBe(6);
  const letters = await until('the letter is there', async () => {
    const found = await bus.deadLetters?.list(100);
    return found?.letters.length ? found.letters : undefined;
  });
  expect(letters).toEqual([
    expect.objectContaining({
      method: 'poison',
      topic: name,
      reason: 'whoever handled it ended or lost the connection, 6 times in a row',
    }),
  ]);
});

it('does not hold it against a message that its work can not be done for long', async () => {
  let tries = 0;
  const handler = async () => {
    tries += 1;
    if (tries <= 7) throw new CofferError('store_unavailable', 'away');
    if (tries <= 10) throw new Error('an accident');
  };
  await bus.serve({ topic: name, queue: 'shared', prefetch: 10, handler });
  await bus.cast(name, 'patient', {});
  await until('its work is done', async () => tries > 10);
  expect(await bus.deadLetters?.list(100)).toEqual({ letters: [], total: 0 });
});

it('says what to do about a wrong password, and goes on trying', async () => {
  const lines: unknown[] = [];
  const log = { ...silentLog, warn: (fields: object) => void lines.push(fields) } as typeof silentLog;
  const url = amqp_url.replace('://', '://nobody:wrong@').replace(/@[^/@]*@/, '@');
  const locked = await openAmqpBus({ url, name, log, control_exchange: name });
  try {
    expect(lines[0]).toMatchObject({ err: expect.stringContaining('correct COFFER_AMQP_URL') });
    await expect(locked.cast(name, 'anything', {})).rejects.toMatchObject({
      code: 'bus_unavailable',
      message: expect.stringContaining('correct COFFER_AMQP_URL'),
    });
  } finally {
    await locked.close();
  }
});
