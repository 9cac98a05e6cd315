/** What is read off the reports of guests: who leads, who follows whom, who is there and how they are. */
import { describe, expect, it } from 'vitest';
import { digestOf, fractionOf } from '../../../src/core/digest.ts';
import {
  type GuestReport,
  type Instance,
  isAlive,
  isHealthy,
  lagOf,
  primaryOf,
  replicaSetOf,
  versionOf,
} from '../../../src/core/domain.ts';
import { T0, World } from './world.ts';

/** An instance of which this was heard just now; with nothing said, a healthy replica. */
function reporting(fields: Partial<GuestReport> | null): Instance {
  const [instance] = new World().cluster.instances;
  if (!instance) throw new Error('no instance');
  const usual = { service_status: 'healthy', sent: T0, version: '17.6', role: 'replica' } as const;
  return { ...instance, report: fields && { ...usual, ...fields }, heard: fields && T0 };
}

describe('the primary', () => {
  const among = (...roles: readonly GuestReport['role'][]) => {
    const instances = roles.map((role, index) => ({
      ...reporting(role === undefined ? null : { role }),
      name: `db-${index + 1}`,
    }));
    return primaryOf({ ...new World().cluster, instances })?.name;
  };

  it('is the one that says so', () => {
    expect(among('replica', 'primary', 'member')).toBe('db-2');
  });

  it('is nobody while none or more than one says so, or nothing was heard', () => {
    expect(among('replica', null)).toBeUndefined();
    expect(among('primary', 'primary')).toBeUndefined();
    expect(among(undefined)).toBeUndefined();
  });
});

describe('those that replicate from one another', () => {
  const setOf = (placement?: GuestReport['placement']) =>
    replicaSetOf(reporting(placement ? { placement } : {}));

  it('are all of a cluster that says nothing else, and of a shard those that name it', () => {
    expect(setOf()).toBe(replicaSetOf(reporting(null)));
    expect(setOf({ rack: 'a' })).toBe(setOf());
    expect(setOf({ kind: 'shard' })).toBe(setOf());
    expect(setOf({ shard: '' })).toBe(setOf());
    expect(setOf({ shard: 'a' })).toBe(setOf({ kind: 'shard', shard: 'a' }));
  });

  it('are not those of another shard or kind', () => {
    const sets = [setOf(), setOf({ shard: 'a' }), setOf({ shard: 'b' }), setOf({ kind: 'config' })];
    expect(new Set(sets).size).toBe(4);
  });
});

describe('an instance', () => {
  it('that was never heard is not there, has no version, and is behind more than any', () => {
    const silent = reporting(null);
    expect([isAlive(silent, 0), isHealthy(silent, 0), versionOf(silent)]).toEqual([false, false, null]);
    expect(lagOf(silent)).toBeGreaterThan(lagOf(reporting({ lag_bytes: 10 ** 15 })));
  });

  it('is in service if its server is healthy, and only then', () => {
    expect(isHealthy(reporting({}), T0)).toBe(true);
    expect(isHealthy(reporting({ service_status: 'failed' }), T0)).toBe(false);
  });

  it.each([
    [undefined, 15],
    [1_000, 15],
    [5_000, 15],
    [10_000, 30],
    [30_000, 90],
    [600_000, 90],
  ])('that speaks every %s ms is there for %i s', (heartbeat_ms, seconds) => {
    const instance = reporting({ ...(heartbeat_ms !== undefined && { heartbeat_ms }) });
    expect(isAlive(instance, T0 + seconds * 1000)).toBe(true);
    expect(isAlive(instance, T0 + seconds * 1000 + 1)).toBe(false);
  });

  it('of which only the time of its last word is known is there for as long as any', () => {
    expect(isAlive({ ...reporting(null), heard: T0 }, T0 + 15_000)).toBe(true);
  });
});

describe('what follows from a text alone', () => {
  it.each([
    ['', 'e3b0c44298fc1c14'],
    ['abc', 'ba7816bf8f01cfea'],
  ])('a short name: of %j the first 16 digits of its SHA-256', (text, digest) => {
    expect(digestOf(text)).toBe(digest);
  });

  it('a fraction: below 1, and spread evenly over texts that differ in one digit', () => {
    expect(fractionOf('abc')).toBe(0xba7816bf / 2 ** 32);
    const all = Array.from({ length: 1000 }, (_, index) => fractionOf(`c/${index}/1`));
    const quarters = [0, 1, 2, 3].map(
      (quarter) => all.filter((one) => Math.floor(one * 4) === quarter).length,
    );
    for (const size of quarters) expect(Math.abs(size - 250)).toBeLessThan(60);
    expect(all.filter((one) => one < 0 || one >= 1)).toEqual([]);
  });
});
