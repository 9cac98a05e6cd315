/** How the catalogue changes. Not covered: who may change it, and that the store keeps what is in use. */
import { describe, expect, it } from 'vitest';
import {
  addVersion,
  type Catalogue,
  changeVersion,
  EMPTY_CATALOGUE,
  findDatastore,
  findVersion,
  mustBeUnused,
  type NewVersion,
  removeDatastore,
  removeVersion,
  versionsOf,
  withBuiltIns,
} from '../../../src/core/catalogue.ts';
import { BUILT_IN_DATASTORES, BUILT_IN_VERSIONS } from '../../../src/core/managers/index.ts';
import { versionOf } from './versions.ts';

const FULL = withBuiltIns(EMPTY_CATALOGUE);
const SIMULATED = findDatastore(FULL, 'simulated');
const [FIRST, SECOND] = versionsOf(FULL, SIMULATED.id);
const ID = FIRST?.id ?? '';

function described(name: string, fields: Partial<NewVersion> = {}): NewVersion {
  const { datastore_id: _, ...version } = versionOf(name, { manager: 'simulated' });
  return { ...version, datastore_name: 'simulated', is_default: false, ...fields };
}

const add = (catalogue: Catalogue, version: NewVersion) => addVersion(catalogue, version, () => 'd-new');
const namesOf = (catalogue: Catalogue, datastore: string) =>
  versionsOf(catalogue, findDatastore(catalogue, datastore).id).map(({ name }) => name);

describe('what is built in', () => {
  it('is put in once', () => {
    expect(FULL).toMatchObject({
      revision: 1,
      datastores: BUILT_IN_DATASTORES,
      versions: BUILT_IN_VERSIONS,
    });
    expect(withBuiltIns(FULL)).toBe(FULL);
  });

  it('stays as an administrator has made it, and away when they have removed it', () => {
    const changed = removeVersion(changeVersion(FULL, ID, { active: false }), SECOND?.id ?? '');
    expect(withBuiltIns(changed)).toBe(changed);
  });

  it('comes with a later release to a catalogue that has the rest', () => {
    const { seeded, ...rest } = FULL;
    const older = { ...removeVersion(FULL, ID), seeded: seeded.filter((id) => id !== ID) };
    const newer = withBuiltIns(older);
    expect(newer).toMatchObject({ revision: 3, seeded: expect.arrayContaining([...seeded]) as string[] });
    expect(namesOf(newer, 'simulated')).toEqual([...namesOf(rest as Catalogue, 'simulated').slice(1), '1.0']);
  });

  it('does not push aside what an administrator has made under the same name', () => {
    const own = add(EMPTY_CATALOGUE, described('1.0'));
    const catalogue = withBuiltIns(own);
    expect(namesOf(catalogue, 'simulated'), 'theirs is another datastore').toEqual(['1.0']);
    expect(namesOf(catalogue, 'postgresql')).toContain('17.10');
    const { seeded } = FULL;
    const older = { ...removeVersion(FULL, ID), seeded: seeded.filter((id) => id !== ID) };
    const taken = withBuiltIns(add(older, described('1.0')));
    expect(namesOf(taken, 'simulated')).toEqual(['1.1', '2.0', '1.0']);
    expect(taken.versions.some(({ id }) => id === ID)).toBe(false);
  });
});

describe('finding', () => {
  it('goes by id or name, within a datastore', () => {
    expect(findDatastore(FULL, SIMULATED.id)).toBe(findDatastore(FULL, 'simulated'));
    expect(findVersion(versionsOf(FULL, SIMULATED.id), '1.0').id).toBe(ID);
    expect(findVersion(versionsOf(FULL, SIMULATED.id), ID).name).toBe('1.0');
  });

  it('says what it does not find', () => {
    expect(() => findDatastore(FULL, 'x')).toThrow(
      expect.objectContaining({ code: 'datastore_not_found', message: "Datastore 'x' cannot be found." }),
    );
    expect(() => findVersion(versionsOf(FULL, SIMULATED.id), '17.10')).toThrow(
      expect.objectContaining({
        code: 'datastore_version_not_found',
        message: "Datastore version '17.10' cannot be found.",
      }),
    );
  });
});

describe('a new version', () => {
  it('joins its datastore, without becoming its default', () => {
    const after = add(FULL, described('3.0'));
    expect(namesOf(after, 'simulated')).toEqual(['1.0', '1.1', '2.0', '3.0']);
    expect(findDatastore(after, 'simulated')).toEqual(SIMULATED);
    expect(after.revision).toBe(FULL.revision + 1);
    const [added] = versionsOf(after, SIMULATED.id).slice(-1);
    expect(added).toEqual(versionOf('3.0', { manager: 'simulated', datastore_id: SIMULATED.id }));
  });

  it('makes its datastore if there is none', () => {
    const after = add(FULL, described('8.0.41', { datastore_name: 'mysql', is_default: true }));
    expect(findDatastore(after, 'mysql')).toEqual({
      id: 'd-new',
      name: 'mysql',
      default_version_id: 'v-8.0.41',
    });
  });

  it('is refused under a name that is taken, but not in another datastore', () => {
    const { id } = findVersion(versionsOf(FULL, SIMULATED.id), '2.0');
    const message = `Datastore 'simulated' has a version '2.0' already (${id}): change that one, or choose another name.`;
    expect(() => add(FULL, described('2.0'))).toThrow(expect.objectContaining({ code: 'conflict', message }));
    expect(namesOf(add(FULL, described('2.0', { datastore_name: 'other' })), 'other')).toEqual(['2.0']);
  });

  it('that comes a second time under its id changes nothing', () => {
    const once = add(FULL, described('3.0'));
    expect(add(once, described('3.0'))).toBe(once);
  });
});

describe('a change', () => {
  it('touches what it names', () => {
    const after = changeVersion(FULL, ID, { active: false, upgrade_from: '>=0.9' });
    expect(after.versions.find(({ id }) => id === ID)).toEqual({
      ...FIRST,
      active: false,
      upgrade_from: '>=0.9',
    });
    expect(after.versions.filter(({ id }) => id !== ID)).toEqual(FULL.versions.filter(({ id }) => id !== ID));
    expect(after.datastores).toEqual(FULL.datastores);
  });

  it('makes it the default, or none', () => {
    const defaultOf = (catalogue: Catalogue) => findDatastore(catalogue, 'simulated').default_version_id;
    const made = changeVersion(FULL, ID, { is_default: true });
    expect(defaultOf(made)).toBe(ID);
    expect(defaultOf(changeVersion(made, ID, { is_default: false }))).toBeNull();
    expect(defaultOf(changeVersion(FULL, ID, { is_default: false })), 'it was not the default').toBe(
      SIMULATED.default_version_id,
    );
    expect(findDatastore(made, 'postgresql')).toEqual(findDatastore(FULL, 'postgresql'));
  });

  it('to a name that is taken is refused, and to its own is none', () => {
    expect(() => changeVersion(FULL, ID, { name: '2.0' })).toThrow(
      expect.objectContaining({ code: 'conflict' }),
    );
    expect(namesOf(changeVersion(FULL, ID, { name: '1.0' }), 'simulated')).toContain('1.0');
  });

  it('of what there is not is refused: it goes by id alone', () => {
    for (const id of ['x', '1.0']) {
      expect(() => changeVersion(FULL, id, {})).toThrow(
        expect.objectContaining({ code: 'datastore_version_not_found' }),
      );
    }
  });
});

describe('a removal', () => {
  it('leaves the datastore without a default if it was that', () => {
    const after = removeVersion(FULL, SIMULATED.default_version_id ?? '');
    expect(namesOf(after, 'simulated')).toEqual(['1.0', '1.1']);
    expect(findDatastore(after, 'simulated').default_version_id).toBeNull();
    expect(findDatastore(removeVersion(FULL, ID), 'simulated')).toEqual(SIMULATED);
  });

  it('of a datastore is refused while it has versions', () => {
    expect(() => removeDatastore(FULL, 'simulated')).toThrow(
      expect.objectContaining({
        code: 'in_use',
        message: expect.stringContaining('1.0, 1.1, 2.0') as string,
      }),
    );
    const bare = versionsOf(FULL, SIMULATED.id).reduce((held, { id }) => removeVersion(held, id), FULL);
    const after = removeDatastore(bare, SIMULATED.id);
    expect(after.datastores).toEqual(FULL.datastores.filter(({ name }) => name !== 'simulated'));
    expect(() => removeDatastore(after, 'simulated')).toThrow(
      expect.objectContaining({ code: 'datastore_not_found' }),
    );
  });
});

describe('nobody may be using', () => {
  it.each<[string, Catalogue, readonly string[]]>([
    ['what is gone', removeVersion(FULL, ID), [ID]],
    ['what has another name', changeVersion(FULL, ID, { name: '1.0.1' }), [ID]],
    ['what has another manager', changeVersion(FULL, ID, { manager: 'mysql' }), [ID]],
    ['nothing of what is changed otherwise', changeVersion(FULL, ID, { active: false }), []],
    ['nothing of what is new', add(FULL, described('3.0')), []],
  ])('%s', (_, after, expected) => {
    expect(mustBeUnused(FULL, after)).toEqual(expected);
  });
});
