import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Authenticate } from '../../api/access/caller.ts';
import { CofferError } from '../../src/core/errors.ts';
import { ask, beginUpgrade, buildCluster, type Harness, happen, startApi } from './api-harness.ts';

/** The event stream of an upgrade, byte by byte. Not covered: the client's reading of it (client test). */
let api: Harness;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.close());

async function newUpgrade(name: string): Promise<string> {
  return beginUpgrade(api, await buildCluster(api, name));
}

const now = () => Date.now();
const succeeded = () => ({ name: 'succeeded', started: now(), ended: now() }) as const;

/** Opens a stream; `text()` is what has come so far. */
async function open(id: string, headers: Record<string, string> = {}, base = api.url) {
  const leave = new AbortController();
  const url = `${base}/upgrades/${id}/events`;
  const response = await fetch(url, { headers, signal: leave.signal });
  let text = '';
  let ended = false;
  const reading = (async () => {
    for await (const chunk of response.body ?? []) text += Buffer.from(chunk).toString();
    ended = true;
  })().catch(() => undefined);
  return {
    response,
    text: () => text,
    ids: () => [...text.matchAll(/^id: (\d+)$/gm)].map(([, seq]) => Number(seq)),
    hasEnded: () => ended,
    leave: () => leave.abort(),
    reading,
  };
}

describe('an event stream', () => {
  it('tells what happened, then what happens, and ends with the upgrade', async () => {
    const id = await newUpgrade('streamed');
    await happen(api.store, id, 'started', { name: 'running', started: now() });
    const stream = await open(id, { accept: 'text/event-stream' });
    expect(stream.response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    expect(stream.response.headers.get('x-openstack-request-id')).toMatch(/^req-/);
    await vi.waitFor(() => expect(stream.ids()).toEqual([1, 2]));

    const asked = now();
    await happen(api.store, id, 'planned');
    await vi.waitFor(() => expect(stream.ids()).toEqual([1, 2, 3]), { interval: 5 });
    expect(now() - asked).toBeLessThan(500);
    await happen(api.store, id, 'succeeded', succeeded());
    await vi.waitFor(() => expect(stream.hasEnded()).toBe(true));
    expect(stream.ids()).toEqual([1, 2, 3, 4]);
    expect(stream.text()).toMatch(/^retry: \d+\n\nid: 1\nevent: accepted\ndata: \{"seq":1,/);
    expect(stream.text()).toMatch(/id: 4\nevent: succeeded\ndata: \{.*"at":"\d{4}-.*Z".*\}\n\n$/);
  });

  it('ends with an upgrade that was rolled back', async () => {
    const id = await newUpgrade('returned');
    const stream = await open(id);
    await happen(api.store, id, 'rolled_back', {
      ...{ name: 'rolled_back', message: 'back', started: now(), ended: now() },
    });
    await vi.waitFor(() => expect(stream.hasEnded()).toBe(true));
    expect(stream.ids()).toEqual([1, 2]);
  });

  it('resumes after Last-Event-ID without a gap, from the header or the URL', async () => {
    const id = await newUpgrade('resumed');
    for (let n = 0; n < 5; n++) await happen(api.store, id, 'step_phase');
    await happen(api.store, id, 'succeeded', succeeded());
    const resumed = await open(id, { 'last-event-id': '3' });
    await resumed.reading;
    expect(resumed.ids()).toEqual([4, 5, 6, 7]);
    const byUrl = await ask(`${api.url}/upgrades/${id}/events?last_event_id=6`);
    expect(byUrl.body).toContain('id: 7\n');
    expect(byUrl.body).not.toContain('id: 6\n');
  });

  it('is answered 204 when there is nothing more to come, 400 for a number that is none', async () => {
    const id = await newUpgrade('over');
    await happen(api.store, id, 'failed', { ...succeeded(), name: 'failed', message: 'no' });
    expect(
      (await ask(`${api.url}/upgrades/${id}/events`, { headers: { 'last-event-id': '2' } })).status,
    ).toBe(204);
    const wrong = await ask(`${api.url}/upgrades/${id}/events`, { headers: { 'last-event-id': 'x' } });
    expect(wrong.body.badRequest.message).toContain("last_event_id 'x' is not a whole number");
  });

  it('is a list for who asks for JSON', async () => {
    const id = await newUpgrade('listed');
    await happen(api.store, id, 'started');
    const { body } = await ask(`${api.url}/upgrades/${id}/events`, {
      headers: { accept: 'application/json' },
    });
    expect(body.events.map(({ seq, type }: { seq: number; type: string }) => [seq, type])).toEqual([
      [1, 'accepted'],
      [2, 'started'],
    ]);
  });

  it("of another tenant's upgrade is not there", async () => {
    const id = await newUpgrade('hidden');
    expect((await ask(`${api.origin}/v1.0/t2/upgrades/${id}/events`)).status).toBe(404);
    expect((await ask(`${api.origin}/v1.0/t2/upgrades/${id}`)).status).toBe(404);
  });

  it('stops reading Redis when the reader has left', async () => {
    const id = await newUpgrade('left');
    const reads = vi.spyOn(api.store.upgrades, 'events');
    const stream = await open(id);
    await vi.waitFor(() => expect(stream.ids()).toEqual([1]));
    stream.leave();
    await sleep(1500);
    const after = reads.mock.calls.length;
    await sleep(1500);
    expect(reads.mock.calls.length).toBe(after);
    reads.mockRestore();
  });

  it('ends for a reader whose token is refused by then, and for one who may read it no longer', async () => {
    const clock = { ahead_ms: 0 };
    const people = new Map([
      ['ann', { project_id: 't1', roles: ['member'] }],
      ['bob', { project_id: 't1', roles: ['member'] }],
      ['eve', { project_id: 't3', roles: ['admin'] }],
    ]);
    const authenticate: Authenticate = async ({ headers }) => {
      const user = String(headers['x-auth-token']);
      const person = people.get(user);
      if (!person) throw new CofferError('unauthorized', 'Who are you?');
      return { user, ...person, credentials: { ...person, user_id: user }, is_confined: false };
    };
    const other = await startApi({ authenticate, now: () => Date.now() + clock.ahead_ms });
    try {
      const as = (user: string) => ({ 'x-auth-token': user });
      const cluster = await buildCluster(other, 'watched', 't1', as('ann'));
      const id = await beginUpgrade(other, cluster, as('ann'));
      const [anns, bobs] = [await open(id, as('ann'), other.url), await open(id, as('bob'), other.url)];
      const eves = await open(id, as('eve'), `${other.origin}/v1.0/t3`);
      for (const each of [anns, bobs, eves]) await vi.waitFor(() => expect(each.ids()).toEqual([1]));
      people.delete('bob');
      people.set('eve', { project_id: 't3', roles: ['member'] });
      clock.ahead_ms += 15_000;
      await vi.waitFor(() => expect([bobs.hasEnded(), eves.hasEnded()]).toEqual([true, true]), 10_000);
      await happen(other.store, id, 'started', { name: 'running', started: now() });
      await vi.waitFor(() => expect(anns.ids()).toEqual([1, 2]));
      expect([bobs.ids(), eves.ids()]).toEqual([[1], [1]]);
      anns.leave();
    } finally {
      await other.close();
    }
  });

  it('ends when the server stops', async () => {
    const other = await startApi();
    const id = await beginUpgrade(other, await buildCluster(other, 'stopping'));
    const response = await fetch(`${other.url}/upgrades/${id}/events`);
    const begun = now();
    await other.close();
    expect(now() - begun).toBeLessThan(5000);
    await response.text().catch(() => undefined);
  });
});
