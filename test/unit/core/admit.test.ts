/** Which upgrades are begun at all: G3 and the gates that can be read off the cluster. */
import { describe, expect, it } from 'vitest';
import {
  acceptedUpgrade,
  admissionFindings,
  busy,
  type Circumstances,
  checkAdmission,
  findTarget,
} from '../../../src/core/admit.ts';
import type { Cluster, DatastoreVersion } from '../../../src/core/domain.ts';
import { CofferError } from '../../../src/core/errors.ts';
import { DEFAULT_POLICY } from '../../../src/core/policy.ts';
import { versionOf as version } from './versions.ts';
import { FROM, T0, TO, World, type WorldOptions } from './world.ts';

function idle(options: WorldOptions = {}, fields: Partial<Cluster> = {}): Cluster {
  return { ...new World(options).cluster, task: 'NONE', upgrade_id: null, ...fields };
}

function admit(cluster: Cluster, target: DatastoreVersion, circumstances: Partial<Circumstances> = {}): void {
  checkAdmission(cluster, target, { versions: [version(FROM), target], ...circumstances });
}

function errorOf(work: () => unknown): CofferError {
  try {
    work();
  } catch (err) {
    if (err instanceof CofferError) return err;
    throw err;
  }
  throw new Error('nothing was thrown');
}

describe('finding the target', () => {
  const versions = [version('17.6'), version('17.10'), version('2.0', { datastore_id: 'other' })];

  it('goes by name or by id', () => {
    expect(findTarget(versions, idle(), '17.10').id).toBe('v-17.10');
    expect(findTarget(versions, idle(), 'v-17.10').name).toBe('17.10');
  });

  it("knows the cluster's own datastore only, and names what there is", () => {
    const error = errorOf(() => findTarget(versions, idle(), '2.0'));
    expect(error.code).toBe('datastore_version_not_found');
    expect(error.message).toBe(
      "Datastore version '2.0' cannot be found for datastore 'postgresql'. Known versions: 17.6, 17.10.",
    );
  });
});

describe('admission', () => {
  it('lets a newer minor release of an idle cluster pass', () => {
    expect(() => admit(idle(), version(TO))).not.toThrow();
  });

  it('refuses a busy cluster with the name of its task and the way out (G3)', () => {
    const error = errorOf(() =>
      admit(idle({}, { task: 'UPGRADING_CLUSTER', upgrade_id: 'u-7' }), version(TO)),
    );
    expect(error.code).toBe('cluster_busy');
    expect(error.message).toContain("'UPGRADING_CLUSTER'");
    expect(error.message).toContain('u-7');
    expect(busy('DELETING', 'u-7').message).toBe(
      "This action cannot be performed on the cluster while the current cluster task is 'DELETING'.",
    );
  });

  it('refuses a version that is not active', () => {
    const error = errorOf(() => admit(idle(), version(TO, { active: false })));
    expect([error.code, error.message]).toEqual(['gate_blocked', expect.stringContaining('version_active')]);
  });

  it('refuses a downgrade', () => {
    const error = errorOf(() => admit(idle(), version('17.5')));
    expect([error.code, error.message]).toEqual(['gate_blocked', expect.stringContaining('not downgraded')]);
  });

  it('refuses another major release of PostgreSQL, and says which can be reached', () => {
    const error = errorOf(() => admit(idle(), version('18.1')));
    expect([error.code, error.message]).toEqual([
      'gate_blocked',
      expect.stringContaining('minor releases of 17'),
    ]);
  });

  it('lets another major release of other datastores pass', () => {
    const cluster = idle({ manager: 'simulated' });
    expect(() => admit(cluster, version('18.1', { manager: 'simulated' }))).not.toThrow();
  });

  it('refuses what every instance runs already', () => {
    const cluster = idle(
      { already_upgraded: ['db-1', 'db-2', 'db-3'] },
      { datastore_version: TO, datastore_version_id: `v-${TO}` },
    );
    const error = errorOf(() => admit(cluster, version(TO)));
    expect([error.code, error.message]).toEqual(['gate_blocked', expect.stringContaining('upgrade_needed')]);
  });

  it('lets a cluster finish that a failure left on two versions', () => {
    const cluster = idle(
      { already_upgraded: ['db-1', 'db-2'] },
      { datastore_version: TO, datastore_version_id: `v-${TO}` },
    );
    expect(() => admit(cluster, version(TO))).not.toThrow();
  });
});

describe('what a gate says', () => {
  const reasonOf = (cluster: Cluster, target = version(TO)) =>
    admissionFindings(cluster, target, { versions: [target] }).map(
      ({ gate, reason }) => `${gate}: ${reason}`,
    );

  it('names the upgrade that keeps the cluster busy, and no other', () => {
    expect(reasonOf(idle({}, { task: 'UPGRADING_CLUSTER', upgrade_id: 'u-7' }))).toEqual([
      "cluster_idle: the current cluster task is 'UPGRADING_CLUSTER': its upgrade is u-7",
    ]);
    expect(reasonOf(idle({}, { task: 'DELETING', upgrade_id: 'u-7' }))).toEqual([
      "cluster_idle: the current cluster task is 'DELETING'",
    ]);
    expect(reasonOf(idle({}, { task: 'UPGRADING_CLUSTER', upgrade_id: null }))).toEqual([
      "cluster_idle: the current cluster task is 'UPGRADING_CLUSTER'",
    ]);
  });

  it('names the version that is not active, or that all have already', () => {
    expect(reasonOf(idle(), version(TO, { active: false }))).toEqual([
      `version_active: datastore version ${TO} is not active`,
    ]);
    const there = idle(
      { already_upgraded: ['db-1', 'db-2', 'db-3'] },
      { datastore_version: TO, datastore_version_id: `v-${TO}` },
    );
    expect(reasonOf(there)).toEqual([`upgrade_needed: all of shop runs ${TO} already`]);
  });

  it('is what whoever asks is told', () => {
    const error = errorOf(() => admit(idle(), version(TO, { active: false })));
    expect(error.message).toBe(
      `The upgrade is blocked by version_active: datastore version ${TO} is not active.`,
    );
    expect(busy('UPGRADING_CLUSTER', 'u-7').message).toBe(
      "This action cannot be performed on the cluster while the current cluster task is 'UPGRADING_CLUSTER'. " +
        'Its upgrade is u-7: wait for it, or cancel it.',
    );
  });
});

describe('an accepted upgrade', () => {
  const request = {
    cluster_id: 'c',
    tenant_id: 't',
    datastore_version: TO,
    requested_by: { user: 'ann', request_id: 'r', via: 'rest' as const },
  };

  it('is scheduled at revision 1 with its first event (G9), and has no plan', () => {
    const { upgrade, event } = acceptedUpgrade(idle(), version(TO), request, { id: 'u', now: T0 });
    expect(upgrade).toMatchObject({ revision: 1, seq: 1, state: { name: 'scheduled' }, steps: [] });
    expect(upgrade).toMatchObject({ from_version: FROM, to_version: TO, tenant_id: 't' });
    expect(upgrade).toMatchObject({ round: 0, planned_round: -1, waited_ms: 0, write_outage_ms: 0 });
    const message = `upgrade of shop from ${FROM} to ${TO} accepted`;
    expect(event).toEqual({ seq: 1, at: T0, type: 'accepted', message });
  });

  it('keeps the policy that was asked for, and defaults for the rest', () => {
    const { upgrade } = acceptedUpgrade(
      idle(),
      version(TO),
      { ...request, policy: { retries: 9 } },
      { id: 'u', now: T0 },
    );
    expect(upgrade.policy).toEqual({ ...DEFAULT_POLICY, retries: 9 });
  });
});
