import { randomUUID } from 'node:crypto';
import { pino } from 'pino';

/** The broker and the store that the test command started; a test never guesses another one. */
export function testUrls(): { readonly amqp_url: string; readonly redis_url: string } {
  return { amqp_url: required('COFFER_TEST_AMQP_URL'), redis_url: required('COFFER_TEST_REDIS_URL') };
}

function required(name: string): string {
  const value = process.env[name];
  if (!value)
    throw new Error(`${name} is not set: run the tests with npm test, which starts RabbitMQ and Redis`);
  return value;
}

/** A name that no other test uses: for a Redis prefix, an exchange, a topic. */
export function uniqueName(what: string): string {
  return `${what}-${randomUUID().slice(0, 8)}`;
}

export const silentLog = pino({ level: process.env['COFFER_TEST_LOG_LEVEL'] ?? 'silent' });
