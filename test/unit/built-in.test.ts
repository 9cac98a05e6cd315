import { describe, expect, it } from 'vitest';
import { BUILT_IN_DATASTORES, BUILT_IN_VERSIONS } from '../../src/core/managers/index.ts';
import { PLATFORMS } from '../../src/core/managers/manager.ts';
import { hasPackage, packageFor } from '../../src/core/managers/postgresql.ts';

describe('what is built in', () => {
  it('has ids that look like UUIDs and are its own', () => {
    const ids = [...BUILT_IN_DATASTORES, ...BUILT_IN_VERSIONS].map((each) => each.id);
    for (const id of ids)
      expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-[45][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('names each version once, of a datastore that there is', () => {
    const names = BUILT_IN_VERSIONS.map((version) => `${version.manager} ${version.name}`);
    expect(new Set(names).size).toBe(names.length);
    const first = names.filter((name) => /^(postgresql|simulated) /.test(name));
    expect(first).toEqual([
      ...['17.5', '17.6', '17.7', '17.8', '17.9', '17.10', '16.13', '16.14'].map(
        (name) => `postgresql ${name}`,
      ),
      ...['1.0', '1.1', '2.0'].map((name) => `simulated ${name}`),
    ]);
    for (const version of BUILT_IN_VERSIONS) {
      expect(BUILT_IN_DATASTORES.find((each) => each.id === version.datastore_id)?.name).toBe(
        version.manager,
      );
    }
    for (const store of BUILT_IN_DATASTORES) {
      const version = BUILT_IN_VERSIONS.find((each) => each.id === store.default_version_id);
      expect(version?.datastore_id).toBe(store.id);
    }
  });

  it('pins every package that a version lists', () => {
    for (const version of BUILT_IN_VERSIONS.filter(({ manager }) => manager === 'postgresql')) {
      const pinned = PLATFORMS.map((platform) => packageFor(version.name, platform));
      const found = pinned.filter((each) => each !== null);
      expect(found.map((each) => `${each.name}@${each.version}`)).toEqual(version.packages);
      for (const each of found) {
        expect(each.version.startsWith(`${version.name}.`)).toBe(true);
        expect(Buffer.from(each.integrity.replace(/^sha512-/, ''), 'base64')).toHaveLength(64);
      }
      expect(packageFor(version.name, 'linux-x64')).not.toBeNull();
    }
  });

  it('has nothing for what it does not know', () => {
    expect(packageFor('17.99', 'linux-x64')).toBeNull();
    expect(packageFor('17.10', 'plan9-mips')).toBeNull();
    expect([hasPackage('17.10'), hasPackage('17.99')]).toEqual([true, false]);
  });
});
