import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DEFAULT_RATES, rateLimits } from '../../../api/access/rate-limits.ts';

/** Ten reads a minute: one every six seconds once they are used up. */
function limited(rates = { ...DEFAULT_RATES, GET: 10 }) {
  const clock = { now: 1_000_000 };
  return { clock, limits: rateLimits(rates, () => clock.now) };
}

describe('the rate of a tenant', () => {
  it('is spent at once or over time, and comes back as time goes by', () => {
    const { clock, limits } = limited();
    const take = () => limits.take('t1', 'GET');
    expect(Array.from({ length: 10 }, take)).toEqual(Array(10).fill(0));
    expect(take()).toBe(6_000);
    clock.now += 5_999;
    expect(take()).toBe(1);
    clock.now += 1;
    expect(take()).toBe(0);
    expect(take()).toBe(6_000);
    clock.now += 60_000;
    expect(Array.from({ length: 10 }, take)).toEqual(Array(10).fill(0));
  });

  it('is told with what is left of it', () => {
    const { clock, limits } = limited();
    for (let i = 0; i < 4; i++) limits.take('t1', 'GET');
    const left = () => limits.of('t1').find(({ verb }) => verb === 'GET');
    expect(left()).toEqual({ verb: 'GET', value: 10, remaining: 6 });
    clock.now += 12_000;
    expect(left()?.remaining).toBe(8);
    expect(limits.of('t2').map(({ remaining }) => remaining)).toEqual([10, 200, 200, 200, 200]);
  });

  it("is no other tenant's, and of one verb", () => {
    const { limits } = limited();
    for (let i = 0; i < 11; i++) limits.take('t1', 'GET');
    expect(limits.take('t1', 'GET')).toBeGreaterThan(0);
    expect(limits.take('t2', 'GET')).toBe(0);
    expect(limits.take('t1', 'POST')).toBe(0);
  });

  it('does not come back by a clock that is set back, nor is it lost', () => {
    const { clock, limits } = limited();
    for (let i = 0; i < 10; i++) limits.take('t1', 'GET');
    clock.now -= 3_600_000;
    expect(limits.take('t1', 'GET')).toBe(6_000);
    clock.now += 6_000;
    expect(limits.take('t1', 'GET')).toBeGreaterThanOrEqual(0);
  });

  it('is never exceeded in any minute by more than one full bucket', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 20_000 }), { maxLength: 200 }), (pauses) => {
        const { clock, limits } = limited();
        const granted: number[] = [];
        for (const pause of pauses) {
          clock.now += pause;
          if (limits.take('t1', 'GET') === 0) granted.push(clock.now);
        }
        for (const end of granted) {
          const within = granted.filter((at) => at > end - 60_000 && at <= end);
          expect(within.length).toBeLessThanOrEqual(20);
        }
      }),
    );
  });
});
