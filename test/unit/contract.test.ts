import { describe, expect, it } from 'vitest';
import { parseAs } from '../../src/contract/explain.ts';
import { CreateClusterBody, PatchClusterBody, UpgradeActionBody } from '../../src/contract/http.ts';
import { PolicyRequest } from '../../src/contract/policy.ts';
import {
  GUEST_ARGS,
  HeartbeatArgs,
  heartbeatArgs,
  JoinedInstance,
  PreUpgradeAnswer,
  reportOf,
  UpgradeClusterArgs,
} from '../../src/contract/rpc.ts';
import { SimulatedProperties } from '../../src/contract/simulated.ts';
import { UPGRADE_STATES } from '../../src/contract/upgrade-documents.ts';
import type { GuestReport } from '../../src/core/domain.ts';
import { PHASE_NAMES, type PhaseName } from '../../src/core/phase.ts';
import type { StateName } from '../../src/core/record.ts';
import { ACTIONS } from '../../src/core/upgrade/inputs.ts';

const ID = '5f1e2ecd-b76f-4c3e-a57f-92bf2b716c1a';

/** What wrong HTTP requests are answered is in test/integration/api-requests.test.ts. */
describe('an upgrade request', () => {
  it('is the same bare and within cluster', () => {
    const upgrade = { datastore_version: '17.10', policy: { canary: 1 } };
    expect(PatchClusterBody.parse(upgrade)).toEqual(upgrade);
    expect(PatchClusterBody.parse({ cluster: upgrade })).toEqual(upgrade);
  });

  it('states only the policy that it wants to change', () => {
    expect(PolicyRequest.parse({})).toEqual({});
    expect(PolicyRequest.parse({ retries: 0, on_failure: 'fail' })).toEqual({
      retries: 0,
      on_failure: 'fail',
    });
  });

  it('has no window that never opens, and may have one that opens on a leap day', () => {
    const request = (cron: string) =>
      parseAs(
        PatchClusterBody,
        { datastore_version: '17.10', policy: { window: { cron, duration_seconds: 3600 } } },
        'body',
      );
    expect(() => request('0 2 31 2 *')).toThrow(/a window of '0 2 31 2 \*' never opens/);
    expect(() => request('0 2 29 2 *')).not.toThrow();
  });
});

describe('an explanation', () => {
  const explanation = (input: unknown) => {
    try {
      parseAs(CreateClusterBody, input, 'body');
    } catch (error) {
      return String(error);
    }
    return 'fits';
  };
  const cluster = { name: 'c', datastore: { type: 'postgresql' }, instances: [{}] };

  it('never repeats what may be a secret', () => {
    const users = [{ name: 'u', password: 12345 }];
    expect(explanation({ cluster: { ...cluster, users } })).toBe(
      "CofferError: Validation error: cluster['users'][0]['password'] value is not of type 'string'",
    );
  });

  it('stays short and on one line whatever was sent', () => {
    const many = Array.from({ length: 100 }, () => ({ [`x\n${'y'.repeat(5000)}`]: 1 }));
    const text = explanation({ cluster: { ...cluster, instances: many } });
    expect(text.length).toBeLessThan(1000);
    expect(text).not.toContain('\n');
    expect(text).toMatch(/; and 95 more$/);
  });

  it('is not misled by names that every object has', () => {
    expect(explanation({ cluster: { ...cluster, datastore: { type: 'x', constructor: 1 } } })).toContain(
      "('constructor' was unexpected)",
    );
    expect(explanation(JSON.parse('{"cluster": {"__proto__": {"name": "c"}}}'))).toContain(
      "'name' is a required",
    );
  });
});

const ADOPTION = {
  host: {
    control: 'pg_ctlcluster 15 main',
    login: 'postgres through the socket in /run/postgresql',
    versions: [{ version: '15.18', from: '/usr/lib/postgresql/15/bin' }],
  },
  server: {
    version: '15.18',
    full_version: '15.18 (Debian 15.18-0+deb12u1)',
    role: 'replica',
    upstream: { host: '10.0.0.5', port: 5432 },
    system_identifier: '7511111111111111111',
    data_checksums: true,
    port: 5432,
    socket_directories: ['/run/postgresql'],
    data_directory: '/var/lib/postgresql/15/main',
    config_file: '/etc/postgresql/15/main/postgresql.conf',
    settings: [
      { name: 'max_connections', value: '100', source: '/etc/postgresql/15/main/postgresql.conf:65' },
    ],
    slots: [{ name: 'standby_2', type: 'physical', active: true }],
    extensions: [{ database: 'shop', name: 'pg_trgm', version: '1.6' }],
    preload_libraries: ['pg_stat_statements'],
    tablespaces: [{ name: 'fast', location: '/mnt/fast' }],
    synchronous_standby_names: '',
    archive_program: null,
  },
  changes: [{ what: 'restart the server', where: 'pg_ctlcluster 15 main', taken_back: null }],
  refusals: [{ code: 'not_superuser', reason: 'the login is no superuser', way_out: 'use postgres' }],
} satisfies GuestReport['adoption'];

describe('RPC arguments', () => {
  it('may hold keys that nobody here knows', () => {
    const args = { cluster_id: ID, datastore_version_id: ID, from_the_future: 1 };
    expect(UpgradeClusterArgs.parse(args)).toMatchObject({ cluster_id: ID });
    expect(UpgradeClusterArgs.safeParse({ ...args, policy: { retrys: 1 } }).success).toBe(false);
    expect(UpgradeClusterArgs.safeParse({ cluster_id: 'c', datastore_version_id: ID }).success).toBe(false);
  });

  it("of a Trove guest's heartbeat make a report", () => {
    const args = { instance_id: ID, sent: 1795395820.114, payload: { service_status: 'healthy', extra: {} } };
    expect(reportOf(HeartbeatArgs.parse(args))).toEqual({ service_status: 'healthy', sent: 1795395820114 });
  });

  it('keep the word of a Trove guest that is not healthy', () => {
    const args = { instance_id: ID, sent: 1, payload: { service_status: 'running' } };
    const message = 'its guest agent reports the status "running"';
    expect(reportOf(HeartbeatArgs.parse(args))).toEqual({ service_status: 'unknown', sent: 1000, message });
  });

  it.each([
    ['healthy', 'healthy'],
    ['running', 'unknown'],
    ['restart required', 'unknown'],
    ['blocked', 'unknown'],
    ['restarting', 'unknown'],
    ['crashed', 'failed'],
    ['failed to spawn', 'failed'],
    ['instance ready', 'building'],
    ['constructor', 'unknown'],
    ['no such status', 'unknown'],
  ])('take the service status %s for %s', (said, meant) => {
    const args = { instance_id: ID, sent: 1, payload: { service_status: said } };
    expect(HeartbeatArgs.parse(args).payload.service_status).toBe(meant);
  });

  it('carry a whole report there and back', () => {
    const report: GuestReport = {
      service_status: 'upgrading',
      sent: 1795395820114,
      version: '17.6',
      role: 'replica',
      lag_bytes: 0,
      synchronous: true,
      endpoint: { host: '127.0.0.1', port: 5432 },
      placement: { rack: 'a', seed: true, shard: 's1', kind: 'shard' },
      adoption: ADOPTION,
      message: null,
      attempt: {
        upgrade_id: ID,
        step: 1,
        attempt: 2,
        action: 'upgrade',
        status: 'failed',
        error: 'no room',
        permanent: true,
        result: { lsn: '0/1' },
      },
      agent: 'coffer/0.1.0',
    };
    const wire: unknown = JSON.parse(JSON.stringify(heartbeatArgs(ID, report)));
    expect(reportOf(HeartbeatArgs.parse(wire))).toEqual(report);
  });

  it("keep the limits of an adoption's report, and a refusal that nobody here knows", () => {
    const refusals = [{ code: 'from_the_future', reason: 'r'.repeat(3_000), way_out: 'wait' }];
    const slots = Array.from({ length: 300 }, (_, index) => ({
      ...{ name: `slot_${index}`, type: 'physical' as const, active: true },
    }));
    const server = { ...ADOPTION.server, slots };
    const payload = { service_status: 'failed', adoption: { ...ADOPTION, server, refusals } };
    const { adoption } = reportOf(HeartbeatArgs.parse({ instance_id: ID, sent: 1, payload }));
    expect(adoption?.refusals).toEqual([
      { code: 'setup_unsupported', reason: 'r'.repeat(2_000), way_out: 'wait' },
    ]);
    expect(adoption?.server?.slots).toHaveLength(200);
    const odd = { ...payload, adoption: { ...ADOPTION, server: { ...server, system_identifier: 'x' } } };
    expect(HeartbeatArgs.safeParse({ instance_id: ID, sent: 1, payload: odd }).success).toBe(false);
  });

  it('of the answer to a join lead to no place but the one of an instance', () => {
    const instance = {
      instance_id: ID,
      cluster_id: ID,
      name: 'shop-member-1',
      ordinal: 0,
      manager: 'simulated',
      datastore_version: '1.0',
      role: 'member',
      endpoint: { host: '10.0.0.5', port: 5432 },
      primary: null,
      extended_properties: {},
      databases: [],
      users: [],
      rpc_key: 'a key',
    };
    expect(JoinedInstance.parse(instance)).toEqual(instance);
    const elsewhere = { ...instance, instance_id: '../../etc/cron.d/x' };
    expect(JoinedInstance.safeParse(elsewhere).success).toBe(false);
    const smuggled = { ...instance, cluster_token: 'x', command: 'rm' };
    expect(JoinedInstance.parse(smuggled)).toEqual(instance);
  });

  it('of pre_upgrade and post_upgrade may be missing, as from Trove; of upgrade not', () => {
    expect(GUEST_ARGS.pre_upgrade.parse({})).toEqual({});
    expect(GUEST_ARGS.post_upgrade.parse({ upgrade_info: { a: 1 } })).toEqual({ upgrade_info: { a: 1 } });
    expect(GUEST_ARGS.upgrade.safeParse({}).success).toBe(false);
    expect(GUEST_ARGS.upgrade.safeParse({ upgrade_info: { datastore_version: '1' } }).success).toBe(true);
    expect(GUEST_ARGS.follow.safeParse({ upgrade_info: { primary: { host: 'h', port: 0 } } }).success).toBe(
      false,
    );
    expect(PreUpgradeAnswer.parse(null)).toEqual({});
    expect(PreUpgradeAnswer.parse({ device_path: '/dev/vdb' })).toEqual({ device_path: '/dev/vdb' });
  });
});

describe('simulated faults', () => {
  it('hit once unless they say more', () => {
    const properties = SimulatedProperties.parse({ fail: [{ instance: 0, action: 'upgrade' }] });
    expect(properties.fail).toEqual([{ instance: 0, action: 'upgrade', times: 1 }]);
  });
});

describe('documents', () => {
  it('have a body for each action, in the order of the core', () => {
    expect(Object.keys(UpgradeActionBody.shape)).toEqual([...ACTIONS]);
  });

  it('name every state and phase of the core, and no other', () => {
    // Compiles only as long as the lists are complete.
    // `rolling_back` is what a running upgrade is called on its way back.
    const states: readonly (StateName | 'rolling_back')[] = UPGRADE_STATES;
    const missingState: Exclude<StateName, (typeof UPGRADE_STATES)[number]>[] = [];
    const missingPhase: Exclude<PhaseName, (typeof PHASE_NAMES)[number]>[] = [];
    expect([states.length, PHASE_NAMES.length, missingState, missingPhase]).toEqual([8, 15, [], []]);
  });
});
