/** The first record of a batch: every selected cluster is in it, with its wave or the reason why it is left out (B1). */
import { describe, expect, it } from 'vitest';
import { type BatchRequest, resolveBatch } from '../../../src/core/batch/admit.ts';
import { upgradeIdOf } from '../../../src/core/batch/draft.ts';
import { inRange } from '../../../src/core/versions.ts';
import { clusterOf, T0, TARGET } from './world.ts';

const requested_by = { user: 'ann', request_id: 'req-1', via: 'rest' } as const;
const NONE = { queued: 0, waiting: 0, running: 0, succeeded: 0, failed: 0, skipped: 0, cancelled: 0 };

function resolve(
  clusters: readonly ReturnType<typeof clusterOf>[],
  fields: Partial<BatchRequest> = {},
  target = TARGET,
) {
  const selection = { selector: {}, all_tenants: false };
  const request: BatchRequest = {
    ...{ tenant_id: 't', name: 'nightly', selection, datastore_version: '1.1', policy: {}, requested_by },
    ...fields,
  };
  return resolveBatch(clusters, target, request, { id: 'b', now: T0, inRange, versions: [target] });
}

describe('a batch that is accepted', () => {
  it('pins what was asked for, and waits to be taken up (B6)', () => {
    const waves = [
      { share: 1, failure_budget: 0 },
      { selector: { name: 'c-*' }, soak_seconds: 30 },
    ];
    const { batch, event } = resolve([clusterOf(0), clusterOf(1)], { waves, policy: { retries: 7 } });
    const wave = {
      ...{ max_concurrent: 10, failure_budget: '5%', write_outage_budget_seconds: null, soak_seconds: 0 },
      ...{ approval: false, size: 1, started: null, ended: null, counts: { ...NONE, queued: 1 } },
      ...{ troubled: 0, parked: 0, write_outage_ms: 0, forgiven_failures: 0, forgiven_outage_ms: 0 },
    };
    expect(batch).toEqual({
      ...{ id: 'b', tenant_id: 't', name: 'nightly', revision: 1, seq: 1, requested_by, created: T0 },
      ...{ datastore_id: 'd', datastore: 'simulated', to_version_id: 'v-1.1', to_version: '1.1' },
      policy: { on_failure: 'fail', retries: 7 },
      selection: { selector: {}, all_tenants: false },
      ...{ state: { name: 'scheduled' }, cancelling: false, wave: 0, approved_wave: -1 },
      waves: [
        { ...wave, failure_budget: 0 },
        { ...wave, soak_seconds: 30 },
      ],
      ...{ size: 2, left_out: 0 },
    });
    const message = 'batch of 2 clusters to 1.1 accepted; 0 left out';
    expect(event).toEqual({ seq: 1, at: T0, type: 'accepted', message });
  });

  it('asks nobody about each cluster that fails, unless that is wished', () => {
    expect(resolve([]).batch.policy).toEqual({ on_failure: 'fail' });
    expect(resolve([], { policy: { on_failure: 'rollback' } }).batch.policy.on_failure).toBe('rollback');
  });

  it('has a member for each cluster, with its own policy where it has one', () => {
    const [first, second] = [clusterOf(0), clusterOf(1)];
    const policy = { canary: 1 };
    const clusters = [{ id: second.id, policy }, { id: first.id }];
    const { members } = resolve([first, second], { selection: { clusters, all_tenants: false } });
    const member = {
      ...{ position: 0, wave: 0, cluster_id: 'id-c-1', cluster_name: 'c-1', tenant_id: 't' },
      ...{ from_version: '1.0', policy: null, tries: 0, upgrade_id: null, undo: null, write_outage_ms: 0 },
      ...{ started: null, waiting_since: null, state: { name: 'queued' } },
    };
    const other = { position: 1, wave: 1, cluster_id: 'id-c-2', cluster_name: 'c-2', policy };
    expect(members).toEqual([member, { ...member, ...other }]);
  });
});

describe('left out from the start', () => {
  /** A cluster that is no member of any wave, and why. */
  const reasonFor = (fields: object, request: Partial<BatchRequest> = {}, target = TARGET) => {
    const { batch, members } = resolve([{ ...clusterOf(0), ...fields }, clusterOf(1)], request, target);
    const [member] = members;
    expect(batch.left_out).toBe(members.filter(({ wave }) => wave === null).length);
    return member?.state.name === 'skipped' ? member.state.reason : member?.state.name;
  };

  it.each([
    ['of another datastore', { datastore_id: 'x', datastore_name: 'mysql' }, 'its datastore is mysql'],
    [
      'newer already',
      { datastore_version: '2.0', datastore_version_id: 'v-2.0' },
      'version_path: 1.1 is older than 2.0, and a cluster is not downgraded',
    ],
    [
      'there already',
      { datastore_version: '1.1', datastore_version_id: 'v-1.1' },
      'upgrade_needed: all of c-1 runs 1.1 already',
    ],
  ])('is a cluster that is %s', (_, fields, reason) => {
    expect(reasonFor(fields)).toBe(reason);
  });

  it('is none that is merely busy: it has to wait for its turn', () => {
    expect(reasonFor({ task: 'GROWING_CLUSTER' })).toBe('queued');
  });

  it('is none that a person takes along all the same', () => {
    const newer = { datastore_version: '2.0', datastore_version_id: 'v-2.0' };
    const overrides = [{ gate: 'version_path', reason: 'tried in staging' }] as const;
    expect(reasonFor(newer, { policy: { overrides } })).toBe('queued');
    const inactive = { ...TARGET, active: false };
    expect(reasonFor({}, {}, inactive)).toBe('version_active: datastore version 1.1 is not active');
  });

  it('takes no place in a wave', () => {
    const there = { datastore_version: '1.1', datastore_version_id: 'v-1.1' };
    const { members } = resolve([{ ...clusterOf(0), ...there }, clusterOf(1), clusterOf(2)], {
      waves: [{ share: 1 }, {}],
    });
    expect(members.map(({ wave }) => wave)).toEqual([null, 0, 1]);
  });
});

describe("the id of a cluster's upgrade (B5)", () => {
  it('is a UUID that follows from batch, cluster and try', () => {
    const id = upgradeIdOf('b', 'c', 1);
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(upgradeIdOf('b', 'c', 1)).toBe(id);
    const others = [upgradeIdOf('x', 'c', 1), upgradeIdOf('b', 'x', 1), upgradeIdOf('b', 'c', 2)];
    expect(new Set([id, ...others]).size).toBe(4);
  });
});
