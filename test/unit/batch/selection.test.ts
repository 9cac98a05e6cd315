/** Selectors, patterns, shares of waves, and places among batches. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isLike, isSelected, splitIntoWaves } from '../../../src/core/batch/selection.ts';
import { type Load, mayBegin, shareOf } from '../../../src/core/batch/share.ts';
import type { Cluster } from '../../../src/core/domain.ts';
import { tried } from '../core/properties.ts';
import { clusterOf } from './world.ts';

const inRange = (version: string, range: string) => range === `=${version}`;
const shop: Cluster = { ...clusterOf(0), name: 'shop-1', extended_properties: { tags: ['eu', 'blue'] } };

describe('a selector', () => {
  it.each([
    [{}, true],
    [{ datastore: 'd' }, true],
    [{ datastore: 'simulated' }, true],
    [{ datastore: 'postgresql' }, false],
    [{ version: '=1.0' }, true],
    [{ version: '=1.1' }, false],
    [{ name: 'shop-*' }, true],
    [{ name: 'shop' }, false],
    [{ tag: 'eu' }, true],
    [{ tag: 'us' }, false],
    [{ name: 'shop-*', tag: 'us' }, false],
    [{ datastore: 'simulated', version: '=1.0', name: '*', tag: 'blue' }, true],
  ])('%j finds it: %s', (selector, found) => {
    expect(isSelected(shop, selector, inRange)).toBe(found);
  });

  it('finds no tag where there is none', () => {
    expect(isSelected(clusterOf(0), { tag: 'eu' }, inRange)).toBe(false);
  });
});

describe('a pattern', () => {
  it.each([
    ['', '', true],
    ['', '*', true],
    ['a', '', false],
    ['shop', 'shop', true],
    ['shop', 'sho?', true],
    ['shop', 'shop?', false],
    ['shop-eu-1', '*eu*', true],
    ['shop-eu-1', '*eu', false],
    ['aXbXc', 'a*b*c', true],
    ['a.c', 'a?c', true],
    ['abc', 'a.c', false],
  ])('%j is like %j: %s', (text, pattern, like) => {
    expect(isLike(text, pattern)).toBe(like);
  });

  it('says what a regular expression says', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 8 });
    const patterns = fc.string({ unit: fc.constantFrom('a', 'b', '*', '?'), maxLength: 6 });
    fc.assert(
      fc.property(letters, patterns, (text, pattern) => {
        const expression = new RegExp(`^${pattern.replaceAll('*', '.*').replaceAll('?', '.')}$`);
        expect(isLike(text, pattern)).toBe(expression.test(text));
      }),
      tried(100),
    );
  });

  it('takes its time in proportion, whatever it is', () => {
    expect(isLike('a'.repeat(20_000), `${'*a'.repeat(50)}b`)).toBe(false);
  });
});

describe('the share of a wave', () => {
  const clusters = Array.from({ length: 10 }, (_, index) => clusterOf(index));
  const sizes = (waves: Parameters<typeof splitIntoWaves>[1]) => {
    const split = splitIntoWaves(clusters, waves, inRange);
    return waves.map((_, wave) => split.filter((one) => one === wave).length);
  };

  it('is a number, a percentage of all rounded up, or the rest', () => {
    expect(sizes([{ share: 1 }, { share: '15%' }, {}])).toEqual([1, 2, 7]);
    expect(sizes([{ share: 99 }, {}])).toEqual([10, 0]);
    expect(sizes([{ share: '100%' }])).toEqual([10]);
  });

  it('may be what a selector of its own finds, up to a number', () => {
    expect(sizes([{ selector: { name: 'c-1*' } }, {}])).toEqual([2, 8]);
    expect(sizes([{ selector: { name: 'c-1*' }, share: 1 }, { share: 2 }, {}])).toEqual([1, 2, 7]);
  });

  it('takes each cluster once, in order', () => {
    expect(
      splitIntoWaves(clusters.slice(0, 4), [{ selector: { name: 'c-3' } }, { share: 1 }], inRange),
    ).toEqual([1, null, 0, null]);
  });
});

describe('places for all batches', () => {
  const load = (batch_id: string, tenant_id: string, running: number, wants: number): Load => ({
    batch_id,
    tenant_id,
    running,
    wants,
  });

  it('are shared evenly among tenants, however many batches one has', () => {
    const loads = [load('a', 't', 0, 99), load('b', 't', 0, 99), load('c', 'u', 0, 99)];
    expect(loads.map(({ batch_id }) => shareOf(batch_id, loads, 12))).toEqual([3, 3, 6]);
  });

  it('go to others where one needs less', () => {
    const loads = [load('small', 't', 0, 2), load('large', 'u', 0, 99)];
    expect(loads.map(({ batch_id }) => shareOf(batch_id, loads, 10))).toEqual([2, 8]);
  });

  it('go first to the one whose id comes first where they can not be even', () => {
    const loads = [load('b', 't', 0, 9), load('a', 't', 0, 9), load('c', 't', 0, 9)];
    expect(loads.map(({ batch_id }) => shareOf(batch_id, loads, 4))).toEqual([1, 2, 1]);
  });

  it('are not begun while others still hold them', () => {
    const loads = [load('old', 't', 10, 99), load('new', 'u', 0, 99)];
    expect([mayBegin('old', loads, 10), mayBegin('new', loads, 10)]).toEqual([0, 0]);
    const later = [load('old', 't', 8, 99), load('new', 'u', 0, 99)];
    expect([mayBegin('old', later, 10), mayBegin('new', later, 10)]).toEqual([0, 2]);
  });

  it('are none for a batch that wants none', () => {
    expect(shareOf('gone', [load('a', 't', 0, 5)], 10)).toBe(0);
  });

  it('are never given twice, and none is left unused that somebody wants; no small one starves', () => {
    const loads = fc.uniqueArray(
      fc.record({
        batch_id: fc.uuid(),
        tenant_id: fc.constantFrom('t', 'u', 'v'),
        running: fc.constant(0),
        wants: fc.integer({ min: 0, max: 40 }),
      }),
      { selector: ({ batch_id }) => batch_id, minLength: 1, maxLength: 8 },
    );
    fc.assert(
      fc.property(loads, fc.integer({ min: 1, max: 60 }), (all, total) => {
        const shares = all.map(({ batch_id }) => shareOf(batch_id, all, total));
        const sum = shares.reduce((a, b) => a + b, 0);
        const wanted = all.reduce((a, { wants }) => a + wants, 0);
        expect(sum).toBe(Math.min(total, wanted));
        for (const [index, { tenant_id, wants }] of all.entries()) {
          const tenants = new Set(all.map((one) => one.tenant_id)).size;
          const own = all.filter((one) => one.tenant_id === tenant_id).length;
          expect(shares[index]).toBeGreaterThanOrEqual(
            Math.min(wants, Math.floor(Math.floor(total / tenants) / own)),
          );
        }
      }),
      tried(100),
    );
  });
});
