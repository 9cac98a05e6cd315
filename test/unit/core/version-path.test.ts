/** Which version may follow which, and serve beside which: the rules alone, as text for people. */
import { describe, expect, it } from 'vitest';
import { mixRefusal, pathRefusal } from '../../../src/core/version-path.ts';
import { compareVersions, isRange, isVersion } from '../../../src/core/versions.ts';
import { versionOf } from './versions.ts';

const simulated = { manager: 'simulated' };

describe('comparing versions', () => {
  it.each([
    ['17.9', '17.10', -1],
    ['17.10', '17.10', 0],
    ['17.10', '17.9', 1],
    ['17', '17.1', -1],
    ['17', '17.0', 0],
    ['8.0.41', '8.0.5', 1],
    ['9.6', '10.1', -1],
    ['mysql-5.7.29-log', '5.7.30', -1],
    ['4.4.1.2', '4.4.1.10', -1],
    ['17.10-rc1', '17.10', 0],
  ])('%s and %s: by their numbers', (a, b, expected) => {
    expect(Math.sign(compareVersions(a, b))).toBe(expected);
  });
});

describe('the path to a version', () => {
  it('is free from the same and from older ones, where there is no rule', () => {
    expect(pathRefusal('1.0', versionOf('2.0', simulated))).toBeNull();
    expect(pathRefusal('2.0', versionOf('2.0', simulated))).toBeNull();
  });

  it('leads to nothing older', () => {
    expect(pathRefusal('17.10', versionOf('17.9'))).toBe(
      '17.9 is older than 17.10, and a cluster is not downgraded',
    );
  });

  it('stays within a major release of PostgreSQL, unless a rule says otherwise', () => {
    expect(pathRefusal('17.6', versionOf('18.1'))).toMatch(/only minor releases of 17 can be reached/);
    expect(pathRefusal('17.6', versionOf('18.1', { upgrade_from: '>=17.5' }))).toBeNull();
    expect(pathRefusal('17.6', versionOf('18.1', simulated))).toBeNull();
  });

  it.each([
    ['>=17.0 <17.10', '17.9', true],
    ['>=17.0 <17.10', '17.0', true],
    ['>=17.0 <17.10', '16.13', false],
    ['>=17.6', '17.5', false],
    ['17.5 || 17.7', '17.7', true],
    ['17.5 || 17.7', '17.6', false],
    ['', '17.6', true],
  ])('from %j: %s may come: %s', (upgrade_from, from, may) => {
    const refusal = pathRefusal(from, versionOf('17.10', { upgrade_from }));
    expect(refusal).toBe(may ? null : `17.10 can be reached from ${upgrade_from} only, and not from ${from}`);
  });

  it('is closed to what has no number, where there is a rule', () => {
    expect(pathRefusal('latest', versionOf('17.10', { upgrade_from: '>=17.0' }))).toContain('from latest');
  });

  it('is not opened to something newer by a rule', () => {
    expect(pathRefusal('17.10', versionOf('17.9', { upgrade_from: '>=17.0' }))).toContain('not downgraded');
  });
});

describe('two versions in one cluster', () => {
  const versions = [versionOf('17.6'), versionOf('17.9', { not_mixed_with: '<17.8' }), versionOf('17.10')];

  it('may serve side by side unless one of them has a rule against the other', () => {
    expect(mixRefusal('17.6', '17.10', versions)).toBeNull();
    expect(mixRefusal('17.9', '17.10', versions)).toBeNull();
    expect(mixRefusal('17.9', '17.6', versions)).toBe('17.9 must not run beside 17.6 in one cluster');
    expect(mixRefusal('17.6', '17.9', versions)).toBe('17.6 must not run beside 17.9 in one cluster');
  });

  it('are not two if they are the same', () => {
    expect(mixRefusal('17.9', '17.9', [versionOf('17.9', { not_mixed_with: '*' })])).toBeNull();
  });

  it('may be such as the catalogue does not know', () => {
    expect(mixRefusal('17.7', '17.9', versions)).not.toBeNull();
    expect(mixRefusal('17.7', '17.1', versions)).toBeNull();
  });
});

describe('what administrators type', () => {
  it.each(['>=17.0 <17.10', '17.x', '~17.4', '17.5 || 17.7', '*'])('%s is a range', (text) => {
    expect(isRange(text)).toBe(true);
  });

  it.each(['newer than 17', '>>17', '17.x.y.z'])('%s is none', (text) => {
    expect(isRange(text)).toBe(false);
  });

  it('is a version if it has a number', () => {
    expect(['17.10', '5.7.29-log', 'mysql-5.7', 'latest'].map(isVersion)).toEqual([true, true, true, false]);
  });
});
