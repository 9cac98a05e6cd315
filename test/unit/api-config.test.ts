import { describe, expect, it } from 'vitest';
import { isLoopback } from '../../api/access/loopback.ts';
import { loadApiConfig } from '../../api/config.ts';

const urls = { COFFER_AMQP_URL: 'amqp://localhost', COFFER_REDIS_URL: 'redis://localhost' };

describe('the configuration', () => {
  it("has Trove's port on loopback by default", () => {
    expect(loadApiConfig(urls)).toMatchObject({ COFFER_API_HOST: '127.0.0.1', COFFER_API_PORT: 8779 });
  });

  it('knows two kinds of provisioner', () => {
    expect(loadApiConfig(urls).COFFER_PROVISIONER).toBe('local');
    const external = { ...urls, COFFER_PROVISIONER: 'external' };
    expect(() => loadApiConfig(external)).toThrow(/COFFER_MASTER_KEY: is not set, and COFFER_PROVISIONER/);
    const COFFER_MASTER_KEY = Buffer.alloc(32).toString('base64');
    expect(loadApiConfig({ ...external, COFFER_MASTER_KEY }).COFFER_PROVISIONER).toBe('external');
    expect(() => loadApiConfig({ ...urls, COFFER_PROVISIONER: 'cloud' })).toThrow(/COFFER_PROVISIONER/);
  });

  it('is told every problem at once', () => {
    const wrong = { COFFER_API_PORT: '70000', COFFER_AUTH: 'some', COFFER_REDIS_URL: 'http://x' };
    expect(() => loadApiConfig(wrong)).toThrow(/COFFER_AMQP_URL[\s\S]*COFFER_REDIS_URL[\s\S]*COFFER_AUTH/);
  });

  it.each(['0.0.0.0', '::', '10.1.2.3', 'example.org', '127.0.0.1.example.org', 'localhost.example.org'])(
    'lets nobody in unasked on %s',
    (host) => {
      expect(() => loadApiConfig({ ...urls, COFFER_API_HOST: host })).toThrow(/COFFER_AUTH=none/);
    },
  );

  it('knows who is who by Keystone or a file, and what these need, on any address', () => {
    const open = { ...urls, COFFER_API_HOST: '0.0.0.0' };
    const keystone = { ...open, COFFER_AUTH: 'keystone', COFFER_KEYSTONE_URL: 'http://k:5000/v3' };
    expect(() => loadApiConfig(keystone)).toThrow(
      /COFFER_KEYSTONE_USER: is not set[\s\S]*COFFER_KEYSTONE_PASSWORD/,
    );
    const signedIn = { ...keystone, COFFER_KEYSTONE_USER: 'coffer', COFFER_KEYSTONE_PASSWORD: 'secret' };
    expect(loadApiConfig(signedIn)).toMatchObject({
      COFFER_KEYSTONE_PROJECT: 'service',
      COFFER_KEYSTONE_CACHE_SECONDS: 60,
      COFFER_MAX_CLUSTERS: 100,
      COFFER_RATE_LIMITS: { GET: 1200, POST: 200 },
    });
    expect(() => loadApiConfig({ ...open, COFFER_AUTH: 'token' })).toThrow(/COFFER_TOKENS_FILE: is not set/);
  });

  it('limits nobody where nobody is told apart, and otherwise as it is told', () => {
    expect(loadApiConfig(urls)).toMatchObject({ COFFER_MAX_CLUSTERS: null, COFFER_RATE_LIMITS: null });
    const limited = { ...urls, COFFER_MAX_CLUSTERS: '5', COFFER_RATE_LIMITS: 'POST=3, DELETE=1' };
    expect(loadApiConfig(limited)).toMatchObject({
      COFFER_MAX_CLUSTERS: 5,
      COFFER_RATE_LIMITS: { GET: 1200, POST: 3, DELETE: 1 },
    });
    for (const wrong of ['POST=0', 'HEAD=5', 'POST', 'post=1', 'POST=1;GET=2']) {
      expect(() => loadApiConfig({ ...urls, COFFER_RATE_LIMITS: wrong })).toThrow(/COFFER_RATE_LIMITS: '/);
    }
  });

  it('tells what is wrong in its files together with all else', () => {
    const wrong = {
      ...urls,
      COFFER_AUTH: 'token',
      COFFER_TOKENS_FILE: '/nowhere',
      COFFER_POLICY_FILE: '/neither',
    };
    expect(() => loadApiConfig({ ...wrong, COFFER_API_PORT: 'x' })).toThrow(
      /has 3 problem[\s\S]*COFFER_API_PORT[\s\S]*\/nowhere can't be read[\s\S]*\/neither can't be read/,
    );
  });

  it.each(['localhost', '127.0.0.1', '127.1.2.3', '::1', '[::1]', 'localhost:80', '[::1]:80'])(
    'knows %s as loopback',
    (host) => {
      expect(isLoopback(host)).toBe(true);
    },
  );
});
