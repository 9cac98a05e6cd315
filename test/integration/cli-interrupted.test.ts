/** Ctrl-C ends a watch and nothing else; its last word says how what was watched stands. At a real api. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Interrupted } from '../../cli/io.ts';
import type { BatchState } from '../../src/core/batch/record.ts';
import type { UpgradeState } from '../../src/core/record.ts';
import { coffer } from '../support/cli.ts';
import { beginUpgrade, buildCluster, type Harness, happen, startApi } from './api-harness.ts';

let api: Harness;
beforeAll(async () => {
  api = await startApi();
  api.answerCalls();
});
afterAll(() => api.close());

const AT = Date.parse('2026-11-30T10:00:00.000Z');
const AFTER = Date.now() + 86_400_000;
const started = { started: AT } as const;
const paused = { name: 'paused', ...started, since: AT, message: 'no room', until: null } as const;

/** What stands on stderr when the command is interrupted a moment after its start. */
async function lastWord(args: string, { isTTY = false, before = async () => {} } = {}): Promise<string> {
  const interrupt = new AbortController();
  const watching = coffer(`${args} --endpoint ${api.origin} --tenant t1`, {
    isTTY,
    signal: interrupt.signal,
  });
  await new Promise((resolve) => setTimeout(resolve, 300));
  await before();
  interrupt.abort(new Interrupted('interrupted'));
  const { code, stderr } = await watching;
  expect(code).toBe(130);
  return stderr;
}

let clusters = 0;
async function upgradeIn(state: UpgradeState | null): Promise<string> {
  clusters += 1;
  const id = await beginUpgrade(api, await buildCluster(api, `shop-${clusters}`));
  if (state) await happen(api.store, id, 'paused', state);
  return id;
}

describe('Ctrl-C on the watch of an upgrade', () => {
  const cases: readonly (readonly [UpgradeState | null, string])[] = [
    [null, 'The upgrade has not started: it waits for a taskmanager.'],
    [{ name: 'running', ...started }, 'The upgrade goes on.'],
    [
      { ...paused, reason: 'failure' },
      'The upgrade is paused and waits for a person: no room. To go on: coffer upgrade-resume ID.',
    ],
    [
      { ...paused, reason: 'window', message: 'its window is closed', until: AFTER },
      `The upgrade is paused for its window, and goes on by itself at ${new Date(AFTER).toISOString()}.`,
    ],
  ];
  it.each(cases)('says what is true of %j', async (state, said) => {
    const id = await upgradeIn(state);
    for (const isTTY of [false, true]) {
      expect(await lastWord(`upgrade-watch ${id}`, { isTTY })).toBe(
        `\n${said.replace('ID', id)} Look again: coffer upgrade-watch ${id}\n`,
      );
    }
  });

  it('says that it has ended, if the watch is interrupted before it could show that', async () => {
    const id = await upgradeIn({ name: 'running', ...started });
    const end = { name: 'failed', ...started, ended: AT, message: 'disk full' } as const;
    await happen(api.store, id, 'failed', end);
    const signal = AbortSignal.abort(new Interrupted('interrupted'));
    const args = `upgrade-watch ${id} --endpoint ${api.origin} --tenant t1`;
    expect((await coffer(args, { signal })).stderr).toBe(
      `\nThe upgrade has ended: failed, disk full. Look again: coffer upgrade-watch ${id}\n`,
    );
  });
});

describe('Ctrl-C on the watch of a batch', () => {
  const state = (name: 'approval' | 'failures', message: string): BatchState => ({
    ...{ name: 'paused', ...started, since: AT, reason: name, message },
  });
  const cases: readonly (readonly [BatchState | null, string])[] = [
    [null, 'The batch has not started: it waits for a taskmanager.'],
    [{ name: 'running', ...started, soak: null }, 'The batch goes on.'],
    [
      state('approval', 'wave 1 waits for an approval'),
      'The batch is paused and waits for a person: wave 1 waits for an approval. To go on: coffer batch-approve ID.',
    ],
    [
      state('failures', 'too many have failed'),
      'The batch is paused and waits for a person: too many have failed. To go on: coffer batch-resume ID.',
    ],
  ];
  it.each(cases)('says what is true of %j', async (after, said) => {
    clusters += 1;
    await buildCluster(api, `blog-${clusters}`);
    const wave = after?.name === 'paused' && after.reason === 'approval' ? '--wave approval' : '';
    const begun = await coffer(
      `batch-create 1.1 --cluster blog-${clusters} ${wave} --json --endpoint ${api.origin} --tenant t1`,
    );
    const { id } = JSON.parse(begun.stdout).batch;
    const loaded = await api.store.batches.load(id, { now: Date.now(), states: [], cluster_ids: [] });
    if (!loaded) throw new Error('no batch');
    const { batch } = loaded;
    if (after) {
      await api.store.batches.commit({
        batch: { ...batch, revision: batch.revision + 1, state: after },
        ...{ members: [], events: [], hints: [], load: null, max_concurrent_total: null },
        ...{ wake_at: AFTER, now: Date.now() },
      });
    }
    for (const isTTY of [false, true]) {
      expect(await lastWord(`batch-watch ${id}`, { isTTY })).toBe(
        `\n${said.replace('ID', id)} Look again: coffer batch-watch ${id}\n`,
      );
    }
  });
});

it('Ctrl-C on the wait for a cluster says what it is busy with', async () => {
  const said = await lastWord('cluster-create slow simulated 1.0 --wait');
  expect(said).toMatch(
    /^\nCluster slow is still at BUILDING, which goes on\. Look again: coffer cluster-show /,
  );
});

// The last: Redis needs a moment to be found again.
it('Ctrl-C where nobody answers says so', async () => {
  const id = await upgradeIn({ name: 'running', ...started });
  const before = async () => api.redisProxy.refuse();
  const said = await lastWord(`upgrade-watch ${id}`, { before });
  api.redisProxy.allow();
  expect(said).toContain('The upgrade is not stopped by this; the API does not answer how it stands.');
});
