/**
 * What the tables of the command line look like on terminals of 60, 80 and 120 columns, in `test/golden/cli/`:
 * vitest's `-u` writes them anew; commit that only if you have looked at them. Ids and times are replaced by
 * others of the same length.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClient } from '../../client/index.ts';
import type { AdoptionReport } from '../../src/core/adoption.ts';
import { coffer } from '../support/cli.ts';
import { adoptionReport } from '../unit/core/adopted.ts';
import { beginUpgrade, buildCluster, type Harness, happen, startApi } from './api-harness.ts';

const GOLDEN = join(import.meta.dirname, '../golden/cli');
const NAMES = ['shop', 'orders-of-the-whole-continent', 'shop-2', 'shop-10'];

let api: Harness;
let upgrade_id: string;
let batch_id: string;
beforeAll(async () => {
  api = await startApi();
  api.answerCalls();
  const ids = new Map<string, string>();
  for (const name of NAMES) ids.set(name, await buildCluster(api, name));
  upgrade_id = await beginUpgrade(api, ids.get('shop') ?? '');
  await happen(api.store, upgrade_id, 'started', { name: 'running', started: Date.now() });
  const batch = await coffer(
    here('batch-create 1.1 --name everything-in-spring --cluster shop-2 --cluster shop-10 --json'),
  );
  batch_id = JSON.parse(batch.stdout).batch.id;
  await adopt('ledger', []);
  await adopt('archive', [
    {
      code: 'replication_login_missing',
      reason: 'the agent knows no login for replication, and the server could not follow a new primary',
      way_out: 'name one in replication of /etc/coffer/postgresql.yaml, then start the agent again',
    },
  ]);
});
afterAll(() => api.close());

const here = (args: string) =>
  `${args} --endpoint ${api.origin} ${args.includes('--tenant') ? '' : '--tenant t1'}`;

/** An adopted cluster of two servers whose agents have reported, in a tenant of its own. */
async function adopt(name: string, refusals: AdoptionReport['refusals']): Promise<void> {
  const client = createClient({ endpoint: `${api.origin}/v1.0/t2` });
  const addresses = [`${name}-1.example.org`, `${name}-2.example.org`].map((host) => ({ host, port: 5432 }));
  const adopting = await client.clusters.adopt({
    ...{ name, datastore: { type: 'postgresql' }, instances: addresses },
  });
  for (const [index, { id }] of adopting.instances.entries()) {
    const role = index === 0 ? 'primary' : 'replica';
    const upstream = index === 0 ? null : (addresses[0] ?? null);
    const server = { role, upstream, system_identifier: `75${name.length}` } as const;
    const adoption =
      index === 0 ? adoptionReport(server) : adoptionReport(refusals.length > 0 ? null : server, refusals);
    const said = { service_status: 'healthy', version: '17.6', role, agent: 'coffer/test' } as const;
    await api.hear(id, { ...said, sent: Date.now(), adoption, endpoint: addresses[index] ?? null });
  }
}
const COMMANDS = {
  'cluster-list': () => 'cluster-list',
  'cluster-show': () => 'cluster-show orders-of-the-whole-continent',
  'instance-show': () => 'instance-show orders-of-the-whole-continent-member-1',
  'upgrade-list': () => 'upgrade-list shop',
  'upgrade-show': () => `upgrade-show ${upgrade_id}`,
  'cluster-upgrade-dry-run': () => 'cluster-upgrade orders-of-the-whole-continent 1.1 --dry-run',
  'batch-list': () => 'batch-list',
  'batch-show': () => `batch-show ${batch_id}`,
  'batch-create-dry-run': () => 'batch-create 1.1 --name-pattern * --dry-run',
  'cluster-report': () => 'cluster-report ledger --tenant t2',
  'cluster-report-refused': () => 'cluster-report archive --tenant t2',
  'cluster-show-adopted': () => 'cluster-show archive --tenant t2',
  'datastore-list': () => 'datastore-list',
  'datastore-version-list': () => 'datastore-version-list postgresql',
  'dead-letters-list': () => 'dead-letters list',
};

/** Ids, hashes and times by others of the same length. */
function masked(text: string): string {
  return text
    .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '5f1e2ecd-b76f-4c3e-a57f-92bf2b716c1a')
    .replaceAll(/\b[0-9a-f]{16,}\b/g, (hash) => 'a'.repeat(hash.length))
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/g, '2026-11-25T10:00:00')
    .replaceAll(/(?<=T10:00:00)\.\d{3}Z/g, '.000Z');
}

describe.each([60, 80, 120])('on a terminal of %d columns', (columns) => {
  it.each(Object.entries(COMMANDS))('%s fits', async (name, commandLine) => {
    const { code, stdout, stderr } = await coffer(here(commandLine()), { isTTY: true, columns });
    expect(code, stderr).toBe(0);
    const framed = stdout.split('\n').filter((line) => /^[|+]/.test(line));
    expect(Math.max(0, ...framed.map(({ length }) => length))).toBeLessThanOrEqual(columns);
    await expect(masked(stdout)).toMatchFileSnapshot(join(GOLDEN, `${name}-${columns}.golden`));
  });
});

it('shows every column with --wide, however narrow the terminal is', async () => {
  const wide = await coffer(here('cluster-list --wide'), { isTTY: true, columns: 60 });
  const roomy = await coffer(here('cluster-list'), { isTTY: true, columns: 500 });
  expect(wide.stdout).toBe(roomy.stdout);
  expect(wide.stdout).toContain('ID');
});

it('lists clusters by name, with numbers in their order', async () => {
  const { stdout } = await coffer(here('cluster-list'));
  expect(stdout.match(/^\S+/gm)).toEqual([
    'Name',
    'orders-of-the-whole-continent',
    'shop',
    'shop-2',
    'shop-10',
  ]);
  const { clusters } = JSON.parse((await coffer(here('cluster-list --json'))).stdout);
  expect(clusters.map(({ name }: { name: string }) => name)[3]).toBe('shop-10');
});
