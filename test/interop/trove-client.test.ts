/**
 * The real OpenStack command line and the real python-troveclient against the whole stack, with a
 * simulated and with a PostgreSQL cluster. A test's title is the command that it runs:
 * docs/trove-compatibility.md names these titles. What is not here: Keystone.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type CofferClient, createClient } from '../../client/index.ts';
import { describeInterop, openstack, runPython } from '../support/python.ts';
import { newHome, RunningStack, removeHome, until } from '../support/stack.ts';
import { OpenStack, openTo } from './osc.ts';

let home: string;
let stack: RunningStack;
let endpoint: string;
let client: CofferClient;
const start = async () => {
  home = await newHome();
  stack = await RunningStack.start(home);
  endpoint = `${(await stack.file()).api_url}/v1.0/interop`;
  client = createClient({ endpoint });
};
const stop = async () => {
  await stack?.stop();
  await removeHome(home);
};
const idle = (name: string) =>
  client.clusters.waitFor(name, { intervalMs: 200, signal: AbortSignal.timeout(150_000) });
const create = async (name: string, upgrade_ms = 0) => {
  const extended_properties = { simulated: { upgrade_ms } };
  await client.clusters.create({
    ...{ name, datastore: { type: 'simulated', version: '1.0' }, instances: [{}, {}], extended_properties },
  });
  return idle(name);
};

describeInterop('the OpenStack command line', () => {
  let osc: OpenStack;
  beforeAll(async () => {
    await start();
    osc = new OpenStack(endpoint);
  });
  afterAll(async () => {
    await osc?.close();
    await stop();
  });

  it('is the real command, with the exit codes that scripts go by', async () => {
    const listed = await openstack([...openTo(endpoint), ...'database cluster list -f json'.split(' ')]);
    expect(listed).toEqual({ code: 0, stderr: '', stdout: '[]\n' });
    const shown = await openstack([...openTo(endpoint), ...'database cluster show nope'.split(' ')]);
    expect(shown.code).toBe(1);
    expect(shown.stderr).toBe("No cluster with a name or ID of 'nope' exists.\n");
  });

  it('has no command that docs/trove-compatibility.md does not name', async () => {
    const { stdout } = await runPython(`
from importlib.metadata import entry_points
for one in entry_points(group="openstack.database.v1"): print(one.name.replace("_", " "))`);
    const page = await readFile(join(import.meta.dirname, '../../docs/trove-compatibility.md'), 'utf8');
    const commands = stdout.trim().split('\n');
    expect(commands.length).toBeGreaterThan(70);
    expect(commands.filter((command) => !page.includes(`| ${command} |`))).toEqual([]);
  });

  it('database cluster create', async () => {
    const network = '11111111-0000-4000-8000-000000000000';
    const made = await osc.json(
      `database cluster create toy simulated 1.0 --instance "flavor=1,volume=1,nic='net-id=${network}'" --instance flavor=m1.large,volume=2`,
    );
    expect(made).toMatchObject({
      ...{ name: 'toy', datastore: 'simulated', datastore_version: '1.0', instance_count: 2 },
      ...{ task_name: 'BUILDING', task_description: 'Building the initial cluster.' },
    });
    const refused = await osc.run('database cluster create bad nosuch 1.0 --instance flavor=1,volume=1');
    expect(refused).toMatchObject({
      code: 1,
      err: expect.stringContaining("'nosuch' cannot be found. (HTTP 404)"),
    });
    await osc.json(
      'database cluster create pg postgresql 17.6 --instance flavor=1,volume=1 --instance flavor=1,volume=1',
    );
    await idle('toy');
    expect((await idle('pg')).instances.map(({ role }) => role)).toEqual(['primary', 'replica']);
  }, 240_000);

  it('database cluster list', async () => {
    const all = await osc.json('database cluster list');
    expect(all.map((one: Record<string, string>) => one['Name']).sort()).toEqual(['pg', 'toy']);
    expect(all.find((one: Record<string, string>) => one['Name'] === 'pg')).toMatchObject({
      ...{ Datastore: 'postgresql', 'Datastore Version': '17.6', 'Task Name': 'NONE' },
    });
    const [first] = await osc.json('database cluster list --limit 1');
    const rest = await osc.json(`database cluster list --limit 1 --marker ${first.ID}`);
    expect([first, ...rest]).toEqual(all);
    expect(await osc.json(`database cluster list --marker ${rest[0].ID}`)).toEqual([]);
  });

  it('database cluster show', async () => {
    const byName = await osc.json('database cluster show pg');
    expect(byName).toMatchObject({
      ...{ name: 'pg', instance_count: 2, ip: '127.0.0.1, 127.0.0.1' },
      ...{ task_name: 'NONE', task_description: 'No tasks for the cluster.' },
    });
    expect(await osc.json(`database cluster show ${byName.id}`)).toEqual(byName);
  });

  it.each([
    ...['cluster modules toy', 'backup list', 'configuration list', 'log list toy-member-1'],
    ...['db list toy-member-1', 'user list toy-member-1', 'root show toy-member-1'],
    ...['instance restart toy-member-1', 'instance promote toy-member-1', 'instance delete toy-member-1'],
    ...['instance resize volume toy-member-1 3', 'instance detach toy-member-1'],
    'instance create one --flavor 1 --size 1 --datastore simulated --datastore-version 1.0 --nic net-id=x',
  ])('refuses what is absent, and touches nothing: database %s', async (command) => {
    const before = await client.clusters.get('toy');
    const said = await osc.run(`database ${command}`);
    expect(said).toMatchObject({ code: 1, err: expect.stringMatching(/\(HTTP 40[04]\)/) });
    const { task, instances } = await client.clusters.get('toy');
    expect({ task, ids: instances.map(({ id }) => id) }).toEqual({
      ...{ task: before.task, ids: before.instances.map(({ id }) => id) },
    });
  });

  it('database cluster list instances', async () => {
    const instances = await osc.json('database cluster list instances toy');
    expect(instances).toMatchObject([
      { Name: 'toy-member-1', 'Flavor ID': '1', Size: 1, Status: 'ACTIVE' },
      { Name: 'toy-member-2', 'Flavor ID': 'm1.large', Size: 2, Status: 'ACTIVE' },
    ]);
  });

  it('database instance list', async () => {
    expect(await osc.json('database instance list')).toEqual([]);
    const all = await osc.json('database instance list --include-clustered');
    expect(all).toHaveLength(4);
    const byName = (name: string) => all.find((one: Record<string, string>) => one['Name'] === name);
    expect(byName('pg-member-1')).toMatchObject({
      ...{ Datastore: 'postgresql', 'Datastore Version': '17.6', Status: 'ACTIVE', Role: 'primary' },
      ...{ 'Operating Status': 'HEALTHY', Public: false, 'Flavor ID': '1', Size: 1 },
    });
    expect(byName('pg-member-2')).toMatchObject({ Role: 'replica' });
    const page = await osc.json('database instance list --include-clustered --limit 3');
    const rest = await osc.json(
      `database instance list --include-clustered --limit 3 --marker ${page[2].ID}`,
    );
    expect([...page, ...rest]).toEqual(all);
  });

  it('database instance show', async () => {
    const shown = await osc.json('database instance show pg-member-2');
    expect(shown).toMatchObject({
      ...{ name: 'pg-member-2', status: 'ACTIVE', operating_status: 'HEALTHY', flavor: '1', volume: 1 },
      ...{ datastore: 'postgresql', datastore_version: '17.6', ip: '127.0.0.1', public: false },
    });
    const primary = await osc.json('database instance show pg-member-1');
    expect([shown.replica_of, primary.replicas]).toEqual([primary.id, shown.id]);
    // What changes with each heartbeat apart.
    expect((await osc.json(`database instance show ${shown.id}`)).id).toBe(shown.id);
  });

  it('datastore list, datastore show', async () => {
    const stores = await osc.json('datastore list');
    expect(stores.map((one: Record<string, string>) => one['Name'])).toEqual(
      expect.arrayContaining(['postgresql', 'simulated']),
    );
    const shown = await osc.json('datastore show simulated');
    expect(shown['versions (id)']).toMatch(/^1\.0 \([0-9a-f-]{36}\)\n1\.1 /);
    const { id } = shown;
    expect(await osc.json(`datastore show ${id}`)).toEqual(shown);
  });

  it('datastore version list, datastore version show', async () => {
    const versions = await osc.json('datastore version list simulated');
    expect(versions).toMatchObject([{ Name: '1.0', Version: '1.0' }, { Name: '1.1' }, { Name: '2.0' }]);
    const byId = await osc.json(`datastore version show ${versions[1].ID}`);
    expect(byId).toMatchObject({ name: '1.1', active: true });
    expect(await osc.json('datastore version show 1.1 --datastore simulated')).toEqual(byId);
    expect((await osc.run('datastore version show 9.9 --datastore simulated')).err).toContain('(HTTP 404)');
  });

  it('datastore version create, set, delete, datastore delete', async () => {
    const quietly = async (command: string) =>
      expect(await osc.run(command)).toMatchObject({ code: 0, out: '', err: '' });
    const image = '11111111-0000-4000-8000-000000000000';
    await quietly(`datastore version create 0.1 toys simulated ${image} --active --default`);
    await quietly(
      'datastore version create 0.2 toys simulated "" --image-tags trove,toys --version-number 0.2',
    );
    expect((await osc.run('datastore version create 0.2 toys simulated ""')).err).toContain('(HTTP 409)');
    const versions = await osc.json('datastore version list toys');
    expect(versions).toMatchObject([{ Name: '0.1' }, { Name: '0.2' }]);
    const [first, second] = versions.map((one: Record<string, string>) => one['ID']);
    expect(await osc.json('datastore show toys')).toMatchObject({ default_version: '0.1' });
    await quietly(`datastore version set ${second} --enable --default --version-name 0.3 --image-tags a,b`);
    expect(await osc.json(`datastore version show ${second}`)).toMatchObject({
      ...{ name: '0.3', active: true, image_tags: ['a', 'b'], upgrade_from: null },
    });
    expect((await osc.run('datastore delete toys')).err).toContain('has versions: 0.1, 0.3');
    for (const id of [first, second]) await quietly(`datastore version delete ${id}`);
    await quietly('datastore delete toys');
    const inUse = (await osc.json('datastore version list simulated'))[0].ID;
    expect((await osc.run(`datastore version delete ${inUse}`)).err).toMatch(
      /is in use by cluster .*HTTP 422/,
    );
  });

  it('database flavor list, database flavor show, database limit list', async () => {
    expect(await osc.json('database flavor list')).toMatchObject([{ ID: 1, Name: '1' }]);
    expect(await osc.json('database flavor show m1.large')).toMatchObject({
      id: 'm1.large',
      name: 'm1.large',
    });
    const limits = await osc.run('database limit list');
    expect(limits).toMatchObject({ code: 0, out: expect.stringContaining('max_clusters') });
  });

  it('database instance upgrade', async () => {
    expect(await osc.run('database instance upgrade pg-member-2 17.10')).toMatchObject({ code: 0, err: '' });
    const cluster = await idle('pg');
    expect(cluster.instances.map(({ version }) => version)).toEqual(['17.6', '17.10']);
    expect(cluster.datastore.version, 'not all of them have it').toBe('17.6');
    const again = await osc.run('database instance upgrade pg-member-2 17.10');
    expect(again).toMatchObject({ code: 1, err: expect.stringContaining('upgrade_needed') });
  }, 180_000);

  it('database cluster upgrade', async () => {
    expect(await osc.run('database cluster upgrade pg 17.10')).toMatchObject({ code: 0, out: '', err: '' });
    const { id } = await client.clusters.get('toy');
    const version = (await osc.json('datastore version list simulated'))[1].ID;
    expect(await osc.run(`database cluster upgrade ${id} ${version}`)).toMatchObject({ code: 0 });
    const [pg, toy] = [await idle('pg'), await idle('toy')];
    expect([pg.datastore.version, toy.datastore.version]).toEqual(['17.10', '1.1']);
    expect(pg.instances.map((one) => [one.version, one.role])).toEqual([
      ['17.10', 'replica'],
      ['17.10', 'primary'],
    ]);
    const unknown = await osc.run('database cluster upgrade toy 9.9');
    expect(unknown).toMatchObject({ code: 1, err: expect.stringContaining("'9.9' cannot be found") });
  }, 240_000);

  it('database cluster grow', async () => {
    expect(await osc.run('database cluster grow pg --instance flavor=1,volume=1')).toMatchObject({
      code: 0,
      err: '',
    });
    const busy = await osc.run('database cluster grow pg --instance flavor=1,volume=1');
    expect(busy).toMatchObject({ code: 1, err: expect.stringContaining("task is 'GROWING_CLUSTER'") });
    expect((await idle('pg')).instances.map(({ name, role }) => [name, role])).toEqual([
      ['pg-member-1', 'replica'],
      ['pg-member-2', 'primary'],
      ['pg-member-3', 'replica'],
    ]);
  }, 180_000);

  it('database cluster shrink', async () => {
    const primary = await osc.run('database cluster shrink pg pg-member-2');
    expect(primary).toMatchObject({ code: 1, err: expect.stringContaining('is the primary') });
    expect(await osc.run('database cluster shrink pg pg-member-1')).toMatchObject({ code: 0, err: '' });
    expect((await idle('pg')).instances.map(({ name }) => name)).toEqual(['pg-member-2', 'pg-member-3']);
  }, 120_000);

  it('database cluster reset status', async () => {
    await create('slow', 20_000);
    await osc.run('database cluster upgrade slow 1.1');
    const busy = await osc.run('database cluster delete slow');
    expect(busy).toMatchObject({ code: 1, err: expect.stringContaining("task is 'UPGRADING_CLUSTER'") });
    expect(await osc.run('database cluster reset status slow')).toMatchObject({ code: 0, err: '' });
    expect(await osc.json('database cluster show slow')).toMatchObject({ task_name: 'NONE' });
  });

  it('database cluster force delete', async () => {
    await osc.run('database cluster upgrade slow 1.1');
    expect(await osc.run('database cluster force delete slow')).toMatchObject({ code: 0, err: '' });
    await client.clusters.waitUntilGone('slow', { signal: AbortSignal.timeout(120_000) });
  }, 150_000);

  it('takes names of any kind, keeps two of one name apart, and goes from page to page', async () => {
    const before = (await osc.json('database cluster list')).length;
    const odd = 'größe mit raum ✓ a/b?c#d%20';
    for (const name of [odd, 'twin', 'twin'])
      await osc.json(`database cluster create "${name}" simulated 1.0 --instance flavor=1,volume=1`);
    const pages: Record<string, string>[] = [];
    for (let marker = ''; pages.length < 100; marker = `--marker ${pages.at(-1)?.['ID']}`) {
      const page = await osc.json(`database cluster list --limit 1 ${marker}`.trim());
      if (page.length === 0) break;
      pages.push(...page);
    }
    expect(pages).toHaveLength(before + 3);
    const twins = pages.filter((one) => one['Name'] === 'twin').map((one) => one['ID']);
    expect(new Set(twins).size).toBe(2);

    for (const command of ['show', 'delete', 'upgrade', 'reset status']) {
      const of = await osc.run(`database cluster ${command} twin${command === 'upgrade' ? ' 1.1' : ''}`);
      expect(of).toMatchObject({ code: 1, err: expect.stringContaining('More than one cluster exists') });
    }
    await idle(twins[0] ?? '');
    expect(await osc.run(`database cluster upgrade ${twins[0]} 1.1`)).toMatchObject({ code: 0 });
    expect((await idle(twins[0] ?? '')).datastore.version).toBe('1.1');
    expect(await osc.json(`database cluster show ${twins[1]}`)).toMatchObject({ datastore_version: '1.0' });

    await idle(twins[1] ?? '');
    const { id, instances } = await idle(odd);
    expect(await osc.json(`database cluster show "${odd}"`)).toMatchObject({ id, name: odd });
    const wrong = await osc.run(`database cluster grow "${odd}" --instance flavor=1,volume=abc`);
    expect(wrong).toMatchObject({ code: 1, err: expect.stringContaining("grow[0]['volume']['size']") });
    const nobody = await osc.run(`database cluster shrink "${odd}" nobody`);
    expect(nobody).toMatchObject({ code: 1, err: "No instance with a name or ID of 'nobody' exists.\n" });
    const last = await osc.run(`database cluster shrink "${odd}" ${instances[0]?.id}`);
    expect(last).toMatchObject({ code: 1, err: expect.stringContaining('keeps at least one instance') });
    expect((await client.clusters.get(id)).instances).toHaveLength(1);
    for (const one of [id, ...twins])
      expect(await osc.run(`database cluster delete ${one}`)).toMatchObject({ code: 0, err: '' });
  }, 150_000);

  it('database cluster delete', async () => {
    for (const name of ['toy', 'pg']) {
      expect(await osc.run(`database cluster delete ${name}`)).toMatchObject({ code: 0, err: '' });
    }
    await client.clusters.waitUntilGone('pg', { signal: AbortSignal.timeout(120_000) });
    await until('nothing is left', async () => (await osc.json('database cluster list')).length === 0);
  }, 150_000);
});

describeInterop('python-troveclient', () => {
  beforeAll(start);
  afterAll(stop);

  /** Runs a program that has `client`, and `wait(name)` until a cluster is idle; answers what it prints. */
  const run = async (program: string) => {
    const { code, stdout, stderr } = await runPython(`${PRELUDE}\n${program}`, { args: [endpoint] });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return JSON.parse(stdout);
  };

  it('clusters.create, list, get', async () => {
    const said = await run(`
members = [{"flavorRef": "1", "volume": {"size": 1}}] * 3
made = [client.clusters.create(name, "simulated", "1.0", members) for name in ("a", "b", "c")]
for name in ("a", "b", "c"): wait(name)
page = client.clusters.list(limit=2)
rest = client.clusters.list(limit=2, marker=page.next)
shown = client.clusters.get(made[0].id)
say(names=sorted(c.name for c in list(page) + list(rest)), last=rest.next,
    shown=[shown.name, shown.task["name"], len(shown.instances)])`);
    expect(said).toEqual({ names: ['a', 'b', 'c'], last: null, shown: ['a', 'NONE', 3] });
  });

  it('clusters.upgrade', async () => {
    const said = await run(`
cluster = client.clusters.find(name="a")
answer = client.clusters.upgrade(cluster, "1.1")
try: client.clusters.upgrade(cluster, "1.1"); busy = None
except exceptions.UnprocessableEntity as error: busy = [error.http_status, str(error)]
after = wait("a")
say(task=answer.task, busy=busy, version=after.datastore["version"])`);
    expect(said).toMatchObject({
      task: { id: 7, name: 'UPGRADING_CLUSTER' },
      busy: [422, expect.stringMatching(/current cluster task is 'UPGRADING_CLUSTER'/)],
      version: '1.1',
    });
  });

  it('instances.list, get, upgrade', async () => {
    const said = await run(`
all = client.instances.list(include_clustered=True, limit=4)
instance = client.instances.get(client.clusters.find(name="b").instances[0]["id"])
client.instances.upgrade(instance, "1.1")
wait("b")
after = client.instances.get(instance.id)
say(page=[len(all), all.next is not None], none=len(client.instances.list()),
    before=instance.datastore["version"], after=after.datastore["version"],
    cluster=client.clusters.find(name="b").datastore["version"])`);
    expect(said).toEqual({ page: [4, true], none: 0, before: '1.0', after: '1.1', cluster: '1.0' });
  });

  it('clusters.grow, shrink, reset_status, delete', async () => {
    const said = await run(`
cluster = client.clusters.find(name="c")
growing = client.clusters.grow(cluster, [{"flavorRef": "1", "volume": {"size": 1}, "name": "extra"}])
grown = wait("c")
extra = [one["id"] for one in grown.instances if one["name"] == "extra"]
shrinking = client.clusters.shrink(cluster, [{"id": one} for one in extra])
shrunk = wait("c")
client.clusters.reset_status(cluster)
client.clusters.delete(cluster)
try:
    while client.clusters.get(cluster.id): time.sleep(0.2)
except exceptions.NotFound as error: gone = error.http_status
say(tasks=[growing.task["name"], shrinking.task["name"]],
    sizes=[len(grown.instances), len(shrunk.instances)], gone=gone)`);
    expect(said).toEqual({
      ...{ tasks: ['GROWING_CLUSTER', 'SHRINKING_CLUSTER'], sizes: [4, 3], gone: 404 },
    });
  });

  it('mgmt_ds_versions, datastores.delete', async () => {
    const said = await run(`
client.mgmt_ds_versions.create("0.1", "toys", "simulated", None, packages=["p=1"], active="true", default="true", image_tags=["a"])
made = [one for one in client.mgmt_ds_versions.list() if one.datastore_name == "toys"][0]
shown = client.mgmt_ds_versions.get(made.id)
client.mgmt_ds_versions.edit(made.id, active="false", default="false", image="glance-1", packages=["p=2"], name="0.2")
after = client.mgmt_ds_versions.get(made.id)
page = client.mgmt_ds_versions.list(limit=2)
client.mgmt_ds_versions.delete(made.id)
client.datastores.delete("toys")
try: client.datastores.get("toys"); gone = False
except exceptions.NotFound: gone = True
say(made=[shown.name, shown.version, shown.datastore_manager, shown.active, shown.default, shown.packages],
    after=[after.name, after.active, after.default, after.image, after.image_tags, after.packages],
    page=[len(page), page.next == page[1].id], gone=gone)`);
    expect(said).toEqual({
      made: ['0.1', '0.1', 'simulated', true, true, ['p=1']],
      after: ['0.2', false, false, 'glance-1', ['a'], ['p=2']],
      ...{ page: [2, true], gone: true },
    });
  });

  it('datastores, datastore_versions, flavors, limits', async () => {
    const said = await run(`
store = client.datastores.get("simulated")
versions = client.datastore_versions.list(store.id)
say(names=[one.name for one in client.datastores.list()], versions=[one.name for one in versions],
    one=client.datastore_versions.get(store.name, "1.1").id == versions[1].id,
    uuid=client.datastore_versions.get_by_uuid(versions[1].id).name,
    flavor=client.flavors.get("1").id, flavors=len(client.flavors.list()),
    limit=client.limits.list()[0].verb)`);
    expect(said).toMatchObject({
      ...{ names: expect.arrayContaining(['postgresql', 'simulated']), versions: ['1.0', '1.1', '2.0'] },
      ...{ one: true, uuid: '1.1', flavor: 1, flavors: 1, limit: 'ABSOLUTE' },
    });
  });
});

const PRELUDE = `
import json, sys, time
from keystoneauth1 import noauth, session
from troveclient import exceptions
from troveclient.v1 import client as trove

auth = noauth.NoAuth(endpoint=sys.argv[1])
client = trove.Client(session=session.Session(auth=auth), auth=auth)

def say(**values): print(json.dumps(values))

def wait(name):
    for _ in range(600):
        cluster = client.clusters.find(name=name)
        if cluster.task["name"] == "NONE": return cluster
        time.sleep(0.2)
    raise Exception(name + " stays busy")
`;
