import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { ACTIONS } from '../../src/core/upgrade/inputs.ts';
import { coffer } from '../support/cli.ts';
import { until } from '../support/stack.ts';
import { beginUpgrade, buildCluster, type Harness, happen, startApi } from './api-harness.ts';

/** Every command against the real api; the test itself plays the taskmanager. */
let api: Harness;
beforeAll(async () => {
  api = await startApi();
  api.answerCalls();
});
afterAll(() => api.close());

const here = (args: string) => `${args} --endpoint ${api.origin} --tenant t1`;
const seconds = () => Date.now();
const running = () => ({ name: 'running', started: seconds() }) as const;
const ended = { started: Date.now(), ended: Date.now() };

/** Plays an upgrade to its end, a moment after the command has begun to watch. */
async function play(id: string, end: 'succeeded' | 'failed'): Promise<void> {
  await sleep(100);
  await happen(api.store, id, 'started', running());
  await happen(api.store, id, 'step_phase');
  await sleep(300);
  await happen(
    api.store,
    id,
    end,
    end === 'failed' ? { name: end, message: 'disk full', ...ended } : { name: end, ...ended },
  );
}

describe('clusters', () => {
  it('are created, shown, listed and deleted', async () => {
    const created = await coffer(
      here('cluster-create made simulated 1.0 --instances 2 --property simulated.upgrade_ms=5'),
    );
    expect(created).toMatchObject({ code: 0, stderr: '' });
    expect(created.stdout).toContain('task_name\tBUILDING\n');
    expect(created.stdout).toMatch(/^made-member-2\tBUILD\t.*\t[0-9a-f-]{36}$/m);

    const shown = await coffer(here('cluster-show made --json'));
    const { cluster } = JSON.parse(shown.stdout);
    expect(cluster).toMatchObject({ name: 'made', extended_properties: { simulated: { upgrade_ms: 5 } } });
    const listed = await coffer(here('cluster-list'));
    expect(listed.stdout).toContain(`made\tBUILDING\t1.0\tsimulated\t${cluster.id}\n`);

    await api.store.provisioning.finishBuild(cluster.id, Date.now());
    const deleting = coffer(here('cluster-delete made --wait'));
    await sleep(300);
    await api.store.provisioning.remove(cluster.id);
    expect(await deleting).toEqual({ code: 0, stdout: 'Cluster made is deleted.\n', stderr: '' });
    expect((await coffer(here('cluster-show made'))).code).toBe(3);
  });

  it('grow and shrink', async () => {
    const id = await buildCluster(api, 'resized');
    const grown = await coffer(here('cluster-grow resized --instances 2 --volume-size 3 --json'));
    expect(JSON.parse(grown.stdout).cluster).toMatchObject({
      task: { name: 'GROWING_CLUSTER' },
      instances: [{}, {}, {}, { name: 'resized-member-4', volume: { size: 3 } }, {}],
    });
    expect(await coffer(here('cluster-shrink resized resized-member-4'))).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('GROWING_CLUSTER'),
    });
    await api.store.provisioning.finishBuild(id, Date.now());
    const shrinking = coffer(here('cluster-shrink resized resized-member-4 resized-member-5 --wait'));
    const seen = await until('it shrinks', async () => {
      const cluster = await api.store.clusters.get(id);
      return cluster?.task === 'SHRINKING_CLUSTER' && cluster;
    });
    const gone = seen.instances.filter(({ task }) => task === 'DELETING').map((one) => one.id);
    await api.store.provisioning.finishShrink(seen, gone, null, Date.now());
    const shrunk = await shrinking;
    expect(shrunk).toMatchObject({ code: 0, stderr: '' });
    expect(shrunk.stdout).toContain('task_name\tNONE\n');
    expect(shrunk.stdout).not.toContain('resized-member-4');
    expect((await coffer(here('cluster-shrink resized'))).code).toBe(2);
  });

  it('get users whose passwords are never on the command line', async () => {
    const args = 'cluster-create app postgresql --instances 1 --database d --user u';
    expect(await coffer(here(args))).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--password-file'),
    });
    const created = await coffer(here(`${args} --password-file - --json`), { file: 'hunter2\n' });
    const order = await api.store.provisioning.getOrder(JSON.parse(created.stdout).cluster.id);
    expect(order?.users).toMatchObject([{ name: 'u', databases: ['d'] }]);
  });

  it('are tables on a terminal', async () => {
    await buildCluster(api, 'framed');
    const { stdout } = await coffer(here('cluster-list'), { isTTY: true });
    expect(stdout).toMatch(/^\+-+\+-+\+/);
    expect(stdout).toMatch(/\| framed +\| NONE +\| 1\.0 +\| simulated/);
  });
});

describe('datastore-version-list', () => {
  it('lists the versions, in JSON as the API has them', async () => {
    const { stdout } = await coffer(here('datastore-version-list simulated --json'));
    expect(JSON.parse(stdout).versions.map(({ name }: { name: string }) => name)).toEqual([
      '1.0',
      '1.1',
      '2.0',
    ]);
    expect((await coffer(here('datastore-list'))).stdout).toMatch(/^postgresql\t/m);
  });
});

describe('datastore versions', () => {
  it('are created, changed and deleted by administrators', async () => {
    const made = await coffer(
      here('datastore-version-create 0.1 toys simulated --image-tag a --upgrade-from >=0.0 --json'),
    );
    expect(JSON.parse(made.stdout).version).toMatchObject({
      ...{ name: '0.1', active: false, image_tags: ['a'], upgrade_from: '>=0.0' },
    });
    const set = await coffer(
      here('datastore-version-set 0.1 --datastore toys --enable --default --upgrade-from none'),
    );
    expect(set).toMatchObject({ code: 0, stderr: '' });
    expect(set.stdout).toMatch(/Active\tyes\nDefault\tyes\nUpgrade from\t\n/);
    expect((await coffer(here('datastore-delete toys'))).code).toBe(4);
    expect(await coffer(here('datastore-version-delete 0.1 --datastore toys'))).toMatchObject({
      ...{ code: 0, stdout: 'Deleted version 0.1.\n' },
    });
    expect((await coffer(here('datastore-delete toys'))).code).toBe(0);
    expect((await coffer(here('datastore-delete toys'))).code).toBe(3);
  });

  it('are not changed by a command that makes no sense', async () => {
    expect(await coffer(here('datastore-version-set 2.0 --datastore simulated'))).toMatchObject({
      ...{ code: 2, stderr: expect.stringContaining('Nothing to change') as string },
    });
    const both = await coffer(here('datastore-version-set x --enable --disable'));
    expect(both).toMatchObject({ code: 2, stderr: expect.stringContaining('exclude each other') as string });
  });
});

describe('cluster-upgrade', () => {
  it('shows the plan first, and upgrades by its hash only while it is the same', async () => {
    const id = await buildCluster(api, 'planned');
    const { code, stdout } = await coffer(here('cluster-upgrade planned 1.1 --dry-run'));
    expect(code).toBe(0);
    expect(stdout).toMatch(/^Stage\tInstance\tKind\tRole\tRepair$/m);
    expect(stdout).toContain('planned-member-1\tinstance\tmember\t');
    expect(stdout).toContain('No gate would hold it back now.');
    expect((await api.store.clusters.get(id))?.task).toBe('NONE');
    const hash = /^hash\t([0-9a-f]{16})$/m.exec(stdout)?.[1];
    const wrong = await coffer(here('cluster-upgrade planned 1.1 --plan-hash 0123456789abcdef'));
    expect(wrong.code).not.toBe(0);
    expect(wrong.stderr).toContain('no longer');
    expect((await coffer(here(`cluster-upgrade planned 1.1 --plan-hash ${hash}`))).code).toBe(0);
    const busy = await coffer(here('cluster-upgrade planned 1.1 --dry-run'));
    expect(busy.stdout).toMatch(/^cluster_idle\t/m);
  });

  it('says what was accepted and how to watch it', async () => {
    const cluster = await buildCluster(api, 'quick');
    const { code, stdout } = await coffer(here('cluster-upgrade quick 1.1 --canary 1 --on-failure fail'));
    expect(code).toBe(0);
    const id = /^Upgrade (\S+) of quick is accepted\. Watch it: coffer upgrade-watch \1\n$/.exec(stdout)?.[1];
    const shown = await coffer(here(`upgrade-show ${id} --json`));
    const { upgrade } = JSON.parse(shown.stdout);
    expect(upgrade).toMatchObject({
      cluster_id: cluster,
      policy: { canary: 1, on_failure: 'fail', retries: 2 },
    });
    expect((await coffer(here('upgrade-list quick'))).stdout).toContain(`${id}\tscheduled\t1.0\t1.1\t`);
  });

  it('of one instance shows its part of the plan, says what was accepted, and waits for that', async () => {
    const id = await buildCluster(api, 'single');
    const planned = await coffer(here('instance-upgrade single-member-2 1.1 --dry-run'));
    expect(planned.code).toBe(0);
    expect(planned.stdout).toContain('single-member-2\tinstance\tmember\t');
    expect(planned.stdout).not.toContain('single-member-1');
    expect((await api.store.clusters.get(id))?.task).toBe('NONE');
    const hash = /^hash\t([0-9a-f]{16})$/m.exec(planned.stdout)?.[1];
    const wrong = await coffer(here('instance-upgrade single-member-2 1.1 --plan-hash 0123456789abcdef'));
    expect(wrong.stderr).toContain('no longer');
    const args = `instance-upgrade single-member-2 1.1 --plan-hash ${hash} --retries 0`;
    const { code, stdout } = await coffer(here(args));
    expect(code).toBe(0);
    const accepted = /^Upgrade (\S+) of single-member-2 is accepted\. Watch it: coffer upgrade-watch \1\n$/;
    const upgrade_id = accepted.exec(stdout)?.[1] ?? 'none';
    expect(await api.store.upgrades.get(upgrade_id)).toMatchObject({
      instance_id: (await api.store.clusters.get(id))?.instances[1]?.id,
      policy: { retries: 0 },
    });
    const busy = await coffer(here('instance-upgrade single-member-1 1.1 --wait'));
    expect(busy).toMatchObject({ code: 4, stderr: expect.stringContaining(upgrade_id) as string });

    const cluster = await buildCluster(api, 'alone');
    const waiting = coffer(here('instance-upgrade alone-member-1 1.1 --wait --json'));
    await vi.waitFor(async () => expect((await api.store.clusters.get(cluster))?.upgrade_id).not.toBeNull());
    await play((await api.store.clusters.get(cluster))?.upgrade_id ?? '', 'succeeded');
    const waited = await waiting;
    expect(waited.code).toBe(0);
    expect(JSON.parse(waited.stdout)).toMatchObject({ upgrade: { state: 'succeeded' } });
  });

  it.each([
    ['succeeded', 0],
    ['failed', 1],
  ] as const)('watched to its end exits by how it %s', async (end, code) => {
    const id = await buildCluster(api, `watched-${end}`);
    const watching = coffer(here(`cluster-upgrade watched-${end} 1.1 --watch`));
    await vi.waitFor(async () => expect((await api.store.clusters.get(id))?.upgrade_id).not.toBeNull());
    await play((await api.store.clusters.get(id))?.upgrade_id ?? '', end);
    const { stdout, ...rest } = await watching;
    expect(rest).toEqual({ code, stderr: '' });
    const lines = stdout.trimEnd().split('\n');
    expect(lines.map((line) => line.split(/ +/)[1])).toEqual(['accepted', 'started', 'step_phase', end]);
  });

  it('watched on a terminal draws one row per instance, over and over in place', async () => {
    const cluster = await buildCluster(api, 'drawn');
    const id = await beginUpgrade(api, cluster);
    const [, { stdout, code }] = await Promise.all([
      play(id, 'succeeded'),
      coffer(here(`upgrade-watch ${id}`), { isTTY: true }),
    ]);
    expect(code).toBe(0);
    const frames = stdout.split('\u001b[0J');
    expect(frames.length).toBeGreaterThan(2);
    expect(stdout).toContain('\u001b[5A');
    expect(frames.at(-1)).toMatch(/^drawn {2}1\.0 → 1\.1 {2}succeeded .*\n· drawn-member-1 +member +1\.0/);
    expect(frames.at(-1)?.trimEnd().split('\n')).toHaveLength(5);
  });

  it('watched with --json writes a line for each event, and the upgrade last', async () => {
    const id = await beginUpgrade(api, await buildCluster(api, 'lines'));
    const [, { stdout }] = await Promise.all([
      play(id, 'succeeded'),
      coffer(here(`upgrade-watch ${id} --json`)),
    ]);
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.map(({ event, upgrade }) => event?.seq ?? upgrade.state)).toEqual([1, 2, 3, 4, 'succeeded']);
  });

  it('waited for ends at a pause, with its reason', async () => {
    const id = await beginUpgrade(api, await buildCluster(api, 'paused'));
    await happen(api.store, id, 'started', running());
    await happen(api.store, id, 'paused', {
      name: 'paused',
      started: Date.now(),
      since: Date.now(),
      reason: 'canary',
      message: 'approve it',
      until: null,
    });
    const { code, stdout } = await coffer(here(`upgrade-watch ${id} --wait`));
    expect(code).toBe(6);
    expect(stdout).toContain('paused 3');
    expect((await coffer(here(`upgrade-show ${id}`))).stdout).toContain('message\tapprove it\n');
  });
});

it('--version is that of the package', async () => {
  const { version } = JSON.parse(await readFile('package.json', 'utf8'));
  expect(await coffer('--version')).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
});

describe('an action on an upgrade', () => {
  const takenUp = async (name: string) => {
    const id = await beginUpgrade(api, await buildCluster(api, name));
    await happen(api.store, id, 'started', running());
    return id;
  };

  it('names the upgrade by its id, or by its cluster, and says what to type next', async () => {
    const id = await takenUp('acted');
    const cluster = (await api.store.upgrades.get(id))?.cluster_id;
    const paused = `Upgrade ${id} of acted is paused: paused by an operator: resume it, or cancel it. To go on: coffer upgrade-resume ${id}\n`;
    for (const reference of ['acted', cluster, id]) {
      const answer = await coffer(here(`upgrade-pause ${reference}`));
      expect(answer).toEqual({ code: 0, stdout: paused, stderr: '' });
    }
    const resumed = await coffer(here('upgrade-resume acted'));
    expect(resumed.stdout).toBe(`Upgrade ${id} of acted is running. Watch it: coffer upgrade-watch ${id}\n`);
    const cancelled = await coffer(here('upgrade-cancel acted --json'));
    expect(JSON.parse(cancelled.stdout).upgrade).toMatchObject({
      id,
      state: 'cancelled',
      actions: ['retry'],
    });
  });

  it('that its state does not allow exits 4, with the reason and what to do', async () => {
    const id = await takenUp('steadfast');
    for (const [action, reason] of [
      ['retry', 'no step has failed: there is nothing to retry'],
      ['approve', 'its policy has no canary to approve'],
    ]) {
      const { code, stdout, stderr } = await coffer(here(`upgrade-${action} steadfast`));
      expect({ code, stdout }).toEqual({ code: 4, stdout: '' });
      expect(stderr).toBe(
        `Error: Upgrade ${id} is running, and '${action}' is refused: ${reason}.\nSee what can be done: coffer upgrade-show steadfast\n`,
      );
    }
  });

  it('that is refused for a cluster leads to that cluster, as a shell takes its name', async () => {
    const id = await takenUp("Ann's");
    const busy = await coffer(here("cluster-grow Ann's"));
    const next = String.raw`coffer cluster-show 'Ann'\''s'. Cancel its upgrade: coffer upgrade-cancel 'Ann'\''s'`;
    expect([busy.code, busy.stderr]).toEqual([4, expect.stringContaining(next)]);
    const again = await coffer(here(`upgrade-approve ${id}`));
    expect(again.stderr).toContain(`See what can be done: coffer upgrade-show ${id}\n`);
  });

  it('is named by every view of an upgrade that waits', async () => {
    const id = await takenUp('waiting');
    const upgrade = await api.store.upgrades.get(id);
    const reason = 'failure' as const;
    const state = {
      name: 'paused',
      started: Date.now(),
      since: Date.now(),
      reason,
      message: 'no',
      until: null,
    } as const;
    const phase = { name: 'failed', ended: Date.now(), error: 'disk on fire' } as const;
    const counts = { attempt: 1, attempts_forgiven: 0, started: Date.now() };
    const member = (await api.store.clusters.get(upgrade?.cluster_id ?? ''))?.instances[0];
    const about = {
      id: 0,
      stage: 0,
      round: 0,
      to_version: '1.1',
      reversible: null,
      touched: true,
      in_doubt: false,
      instance_id: member?.id ?? '',
      successor_id: null,
      returns: false,
      repair: false,
    };
    const step = { ...about, kind: 'instance' as const, ...counts, phase };
    await happen(api.store, id, 'paused', state, [step]);
    const command = `coffer upgrade-retry ${id}`;
    const watched = await coffer(here('upgrade-watch waiting --wait'));
    expect(watched.code).toBe(6);
    expect(watched.stdout).toMatch(new RegExp(`paused .*\nTo go on: ${command}\n$`));
    const drawn = await coffer(here('upgrade-watch waiting --wait'), { isTTY: true });
    expect(drawn.stdout).toMatch(new RegExp(`no\nTo go on: ${command}\n$`));
    const shown = await coffer(here('upgrade-show waiting'));
    expect(shown.stdout).toContain(`next\t${command}\nactions\tretry, cancel, rollback\n`);
    const lines = (await coffer(here('upgrade-watch waiting --wait --json'))).stdout.trimEnd().split('\n');
    expect(lines.map((line) => Object.keys(JSON.parse(line))[0])).toEqual([
      ...Array(3).fill('event'),
      'upgrade',
    ]);
  });

  it('of a cluster that was never upgraded, or of nothing, exits 3', async () => {
    await buildCluster(api, 'pristine');
    const pristine = await coffer(here('upgrade-pause pristine'));
    expect(pristine).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('Cluster pristine has never been upgraded.'),
    });
    const nothing = await coffer(here('upgrade-show nothing'));
    expect(nothing).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("There is no upgrade and no cluster 'nothing'."),
    });
  });
});

describe('with external agents', () => {
  it('cluster-create says how to start them, beside the result', async () => {
    const external = await startApi({ provisioner: 'external' });
    try {
      const at = `--endpoint ${external.origin} --tenant t1`;
      const { code, stdout, stderr } = await coffer(`cluster-create brought simulated --instances 2 ${at}`);
      expect(code).toBe(0);
      expect(stdout).not.toContain('COFFER_JOIN_TOKEN');
      expect(stderr).toMatch(/^Cluster brought waits for 2 guest agents\./);
      const token = /COFFER_JOIN_TOKEN=([0-9a-f-]{36}\.[\w-]{43}) /.exec(stderr)?.[1] ?? 'none';
      expect(external.lines.join() + JSON.stringify(await external.keyspace())).not.toContain(
        token.slice(token.indexOf('.')),
      );
      const json = await coffer(`cluster-create piped simulated --json ${at}`);
      expect(json.stderr).toBe('');
      expect(JSON.parse(json.stdout).cluster.join_token).toMatch(/^[0-9a-f-]{36}\.[\w-]{43}$/);
      expect((await coffer(`cluster-show piped --json ${at}`)).stdout).not.toContain('join_token');
    } finally {
      await external.close();
    }
  });
});

describe('what goes wrong', () => {
  it.each([
    ['', 2, 'Usage: coffer'],
    ['no-such-command', 2, "unknown command 'no-such-command'"],
    ['cluster-show', 2, "missing required argument 'cluster'"],
    ['cluster-upgrade c 1 --retries many', 2, 'must be a whole number'],
    ['cluster-upgrade c 1 --on-failure explode', 2, 'Allowed choices are pause, rollback, fail'],
    ['cluster-create c simulated --property __proto__.x=1', 2, 'must look like simulated.upgrade_ms=500'],
    ['cluster-create c simulated --property simulated.nonsense=1', 2, "'nonsense' was unexpected"],
    ['cluster-create c simulated --instances 101', 2, 'has too many items'],
    [
      'cluster-show nope',
      3,
      "Cluster 'nope' cannot be found.\nList the clusters of your tenant: coffer cluster-list\n",
    ],
    ['cluster-upgrade busy 1.1', 4, "while the current cluster task is 'UPGRADING_CLUSTER'"],
    ['cluster-upgrade ready 9', 3, 'coffer datastore-version-list'],
    ['cluster-upgrade ready 1.0', 4, 'upgrade_needed'],
    ['cluster-delete busy', 4, 'coffer cluster-show'],
    ['instance-upgrade nope 1.1', 3, 'Instance nope cannot be found.\nShow a cluster with its instances: '],
    ['instance-upgrade busy-member-1 1.1', 4, "while the current cluster task is 'UPGRADING_CLUSTER'"],
  ])('`coffer %s` exits %i and says why', async (args, code, message) => {
    if (!(await api.store.clusters.find('t1', 'ready')).length) {
      await buildCluster(api, 'ready');
      await beginUpgrade(api, await buildCluster(api, 'busy'));
    }
    const answer = await coffer(here(args));
    expect(answer.stderr).toContain(message);
    expect(answer).toMatchObject({ code, stdout: '' });
    expect(answer.stderr).not.toMatch(/\n\s+at /);
  });

  it.each(['127.0.0.1:8779', 'nowhere', 'ftp://127.0.0.1', 'http://'])(
    'is told that %s is no address, and not that nobody answers there',
    async (endpoint) => {
      for (const command of ['cluster-list', 'doctor']) {
        const { code, stderr } = await coffer(`${command} --endpoint ${endpoint}`);
        expect({ code, stderr }).toEqual({
          code: 2,
          stderr: `Error: The endpoint '${endpoint}' is no address such as http://127.0.0.1:8779: set it with --endpoint, or COFFER_ENDPOINT.\n`,
        });
      }
    },
  );

  it('is told when nobody answers, with what to do', async () => {
    const answer = await coffer('cluster-list --endpoint http://127.0.0.1:9');
    expect(answer.code).toBe(5);
    expect(answer.stderr).toMatch(
      /^Error: No answer from http:\/\/127\.0\.0\.1:9\/v1\.0\/demo: .*\nIs the API running\?/,
    );
  });

  it('is JSON with --json', async () => {
    const answer = await coffer(here('cluster-show nope --json'));
    expect(answer).toMatchObject({ code: 3, stdout: '' });
    expect(JSON.parse(answer.stderr).error).toEqual({
      code: 'cluster_not_found',
      message: "Cluster 'nope' cannot be found.",
      request_id: expect.stringMatching(/^req-/),
    });
  });

  it('is not what people ask for with --help', async () => {
    const commands = [...(await coffer('--help')).stdout.matchAll(/^ {2}([a-z-]+) .*\[?[<A-Z]/gm)].map(
      ([, name]) => name,
    );
    expect(commands.length).toBeGreaterThanOrEqual(8);
    for (const command of [
      ...ACTIONS.map((action) => `upgrade-${action}`),
      'upgrade-show',
      'cluster-upgrade',
      'instance-upgrade',
      'cluster-create',
      'cluster-reset-status',
      'cluster-list',
      'upgrade-watch',
      'datastore-version-list',
      'datastore-version-create',
      'datastore-version-set',
      'datastore-version-delete',
      'datastore-delete',
    ]) {
      const { code, stdout } = await coffer(`${command} --help`);
      expect(code).toBe(0);
      expect(stdout).toMatch(new RegExp(`Examples?:\\n {2}coffer ${command}`));
      expect(stdout).toContain('--endpoint <url>');
    }
    expect((await coffer('--help')).stdout).toContain('Exit codes:');
    expect((await coffer('upgrade-pause --help')).stdout).toMatch(/ upgrade +its id; or a cluster/);
  });
});
