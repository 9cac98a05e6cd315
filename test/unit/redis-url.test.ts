import { describe, expect, it } from 'vitest';
import { loadConfig, redisConfig } from '../../src/config.ts';
import { RedisConnector } from '../../src/redis-connector.ts';

const load = (url: string) => loadConfig(redisConfig, { COFFER_REDIS_URL: url });

describe('COFFER_REDIS_URL', () => {
  it.each([
    'redis://127.0.0.1:6379',
    'rediss://user:pa%40ss@redis.example.org:6380/3',
    'redis://:pa,ss@redis.example.org',
    'redis://[::1]:6379?family=6',
    'redis://sentinel.example.org',
  ])('may be %s', (url) => {
    expect(load(url).COFFER_REDIS_URL).toBe(url);
  });

  it.each([
    ['redis+sentinel://10.0.0.1:26379,10.0.0.2:26379/mymaster', /names Sentinels.*URL of the primary/],
    ['redis-sentinel://10.0.0.1:26379', /names Sentinels/],
    ['redis://10.0.0.1:26379?sentinels=10.0.0.2:26379&name=mymaster', /names Sentinels/],
    ['redis://10.0.0.1:6379,10.0.0.2:6379', /several servers/],
    ['redis://:secret@10.0.0.1:6379,10.0.0.2:6379/0', /several servers/],
    ['redis://10.0.0.1?maxRetriesPerRequest=5&autoResendUnfulfilledCommands=true', /may not set maxRetries/],
    ['redis:///0', /names no server/],
    ['127.0.0.1:6379', /begins with redis:/],
  ])('is refused in words as %s', (url, words) => {
    expect(() => load(url)).toThrow(words);
    expect(() => load(url)).not.toThrow(/secret/);
  });
});

it('a client that is given Sentinels all the same does not dial another address', () => {
  const options = { sentinels: [{ host: '10.0.0.1', port: 26_379 }], name: 'mymaster', disconnectTimeout: 1 };
  expect(() => new RedisConnector(options)).toThrow(/Sentinels/);
});
