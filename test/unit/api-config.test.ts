import { describe, expect, it } from 'vitest';
import { isLoopback, loadApiConfig } from '../../api/config.ts';

const urls = { COFFER_AMQP_URL: 'amqp://localhost', COFFER_REDIS_URL: 'redis://localhost' };

describe('the configuration', () => {
  it("has Trove's port on loopback by default", () => {
    expect(loadApiConfig(urls)).toMatchObject({ COFFER_API_HOST: '127.0.0.1', COFFER_API_PORT: 8779 });
  });

  it('knows two kinds of provisioner', () => {
    expect(loadApiConfig(urls).COFFER_PROVISIONER).toBe('local');
    expect(loadApiConfig({ ...urls, COFFER_PROVISIONER: 'external' }).COFFER_PROVISIONER).toBe('external');
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

  it.each(['localhost', '127.0.0.1', '127.1.2.3', '::1', '[::1]', 'localhost:80', '[::1]:80'])(
    'knows %s as loopback',
    (host) => {
      expect(isLoopback(host)).toBe(true);
    },
  );
});
