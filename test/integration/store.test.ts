import { describe, expect, it } from 'vitest';
import { openRedisStore } from '../../src/store/redis.ts';
import { describeStore } from '../conformance/store.ts';
import { silentLog, testUrls, uniqueName } from '../support/services.ts';

describeStore('Redis', async () => {
  const store = await openRedisStore({
    url: testUrls().redis_url,
    prefix: uniqueName('store'),
    log: silentLog,
    notifies: true,
  });
  return { store, close: () => store.close() };
});

describe('the store on Redis', () => {
  it('says so when Redis is not there', async () => {
    const opening = openRedisStore({ url: 'redis://127.0.0.1:1', log: silentLog });
    await expect(opening).rejects.toMatchObject({ code: 'store_unavailable', retryable: true });
  });
});
