import { describe, expect, it } from 'vitest';
import { askedFor, handoverIn, renamed } from '../../guestagent/drivers/postgresql/synchronous.ts';

describe('the names of synchronous standbys', () => {
  it('are read in each way that PostgreSQL takes them', () => {
    expect(askedFor('a, B')).toEqual({ count: 1, names: ['a', 'b'] });
    expect(askedFor('2 (a,"b c",d)')).toEqual({ count: 2, names: ['a', 'b c', 'd'] });
    expect(askedFor('first 1 ("say ""x""")')).toEqual({ count: 1, names: ['say "x"'] });
    expect(askedFor('ANY 3 (*)')).toEqual({ count: 3, names: ['*'] });
    expect(askedFor('first, any')).toEqual({ count: 1, names: ['first', 'any'] });
  });

  it('have the demoted primary in the place of its successor, and nothing else changed', () => {
    expect(renamed('ANY 1 ("shop-2", shop3)', 'shop-2', 'shop-1')).toBe('ANY 1 ("shop-1", shop3)');
    expect(renamed('SHOP2,shop22', 'shop2', 'a"b')).toBe('"a""b",shop22');
    expect(renamed('FIRST 2 (*)', 'b', 'a')).toBe('FIRST 2 (*)');
  });

  it('are taken from an order only where they are all there', () => {
    expect(handoverIn(undefined)).toBeNull();
    expect(handoverIn({ synchronous_standby_names: 1, application_name: 'a' })).toBeNull();
    const whole = { synchronous_standby_names: '', application_name: 'a', slots: ['a_1'] };
    expect(handoverIn({ ...whole, more: true })).toEqual(whole);
    expect(handoverIn({ ...whole, slots: ["a'", 1, 'a_1'] })).toEqual(whole);
    expect(handoverIn({ ...whole, slots: undefined })).toEqual({ ...whole, slots: [] });
  });
});
