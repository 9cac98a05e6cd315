/** What the dashboard makes of documents and of what is typed: numbers, times, filters, forms, drawings. */
import { describe, expect, it } from 'vitest';
import type { ClusterDocument, ClusterInstanceDocument, UpgradeDocument } from '../../../client/index.ts';
import { batchOf, FIRST_WAVES, problemOf } from '../../../dashboard/batches/draft.ts';
import { choicesIn, filterOf, matching } from '../../../dashboard/clusters/filter.ts';
import { topologyOf, topologyText } from '../../../dashboard/clusters/topology.ts';
import {
  ago,
  bytes,
  clock,
  count,
  duration,
  fullTime,
  instant,
  zoneName,
} from '../../../dashboard/format.ts';
import { deedOf } from '../../../dashboard/upgrades/deeds.ts';
import {
  BATCH_DRAFT,
  DEFAULT_DRAFT,
  policyOf,
  policyTexts,
  problemsOf,
  TEXT_INPUTS,
} from '../../../dashboard/upgrades/policy.ts';
import {
  batchWord,
  clusterWord,
  memberWord,
  troublesOf,
  upgradeWord,
  waitsForPerson,
} from '../../../dashboard/words.ts';
import { CreateBatchBody } from '../../../src/contract/batch-requests.ts';
import { PolicyRequest } from '../../../src/contract/policy.ts';
import { DEFAULT_POLICY, statedPolicy } from '../../../src/core/policy.ts';
import { ACTIONS } from '../../../src/core/upgrade/inputs.ts';

describe('numbers and times', () => {
  it.each([
    [0, '0 s'],
    [0.4, '0 ms'],
    [88, '88 ms'],
    [1_400, '1.4 s'],
    [2_000, '2 s'],
    [42_300, '42 s'],
    [59_700, '1 min'],
    [200_000, '3 min 20 s'],
    [7_500_000, '2 h 5 min'],
    [273_600_000, '3 d 4 h'],
    [-5, '0 s'],
  ])('%d ms is %s', (ms, text) => expect(duration(ms)).toBe(text));

  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [16_384, '16 KiB'],
    [1_572_864, '1.5 MiB'],
    [2 ** 50, '1024 TiB'],
  ])('%d bytes are %s', (number, text) => expect(bytes(number)).toBe(text));

  it('counts and looks back', () => {
    expect([count(1, 'cluster'), count(1_200, 'cluster'), count(0, 'copy', 'copies')]).toEqual([
      '1 cluster',
      '1,200 clusters',
      '0 copies',
    ]);
    expect([1_000, 30_000, 120_000, 7_200_000, 200_000_000].map(ago)).toEqual([
      'just now',
      '30 s ago',
      '2 min ago',
      '2 h ago',
      '2 d ago',
    ]);
  });

  it('takes times of Trove, which leave out that they mean UTC', () => {
    expect(instant('2026-11-25T02:00:00')).toBe(instant('2026-11-25T02:00:00.000Z'));
  });

  it('tells times in the zone of who looks, with the day where it is another, and says which zone', () => {
    const at = Date.parse('2026-11-25T23:30:00Z');
    expect(clock(at, at, 'UTC')).toBe('23:30:00');
    expect(clock(at, at + 3_600_000, 'UTC')).toBe('25 Nov, 23:30:00');
    expect(clock(at, at + 3_600_000, 'Europe/Berlin')).toBe('00:30:00');
    expect(clock(at - 365 * 86_400_000, at, 'UTC')).toBe('25 Nov 2025, 23:30:00');
    expect(fullTime(at, 'Europe/Berlin')).toContain('26 November 2026');
    expect(zoneName(at, 'Europe/Berlin')).toBe('Europe/Berlin (UTC+1)');
    expect(zoneName(at, 'UTC')).toBe('UTC');
  });
});

const instance = (name: string, more: Partial<ClusterInstanceDocument> = {}) =>
  ({ id: name, name, role: 'member', status: 'ACTIVE', lag_bytes: null, ...more }) as ClusterInstanceDocument;

const cluster = (name: string, version: string, more: Partial<ClusterDocument> = {}) =>
  ({
    id: `id-${name}`,
    name,
    datastore: { type: 'postgresql', version },
    task: { id: 1, name: 'NONE', description: '' },
    instances: [instance(`${name}-1`)],
    problems: [],
    ...more,
  }) as ClusterDocument;

const AT = '2026-11-30T10:00:00.000Z';
type PresentUpgrade = NonNullable<ClusterDocument['upgrade']>;

/** The upgrade of a cluster, paused unless something else is said. */
const present = (more: Partial<PresentUpgrade>): PresentUpgrade => ({
  ...{ state: 'paused', to: '17.10', reason: null, message: null, cancelling: false, silent: false },
  ...{ since: null, until: null },
  ...more,
});

describe('the list of clusters', () => {
  const all = [
    cluster('shop-10', '17.10'),
    cluster('shop-2', '17.9', { extended_properties: { tags: ['staging'] } }),
    cluster('ledger', '1.0', { datastore: { type: 'simulated', version: '1.0' } }),
  ];
  const found = (search: string) =>
    matching(all, filterOf(new URLSearchParams(search))).map(({ name }) => name);

  it('is in the order of names as people count', () => {
    expect(found('')).toEqual(['ledger', 'shop-2', 'shop-10']);
  });

  it.each([
    ['text=SHOP', ['shop-2', 'shop-10']],
    ['text=id-ledger', ['ledger']],
    ['text=shop-2-1', ['shop-2']],
    ['text=stag', ['shop-2']],
    ['datastore=simulated', ['ledger']],
    ['version=17.10', ['shop-10']],
    ['state=Building', []],
    ['state=Healthy', ['ledger', 'shop-2', 'shop-10']],
    ['state=problems', []],
    ['text=shop&version=17.9', ['shop-2']],
  ])('with %s', (search, names) => expect(found(search)).toEqual(names));

  it('offers what there is, the versions of the chosen datastore alone, and what is chosen already', () => {
    const filter = filterOf(new URLSearchParams('datastore=postgresql&state=Building'));
    const { version, state, datastore } = choicesIn(all, filter);
    expect(version.map(({ value }) => value)).toEqual(['17.9', '17.10']);
    expect(datastore.map(({ value }) => value)).toEqual(['postgresql', 'simulated']);
    expect(state.map(({ label }) => label)).toEqual(['Problems', 'Building', 'Healthy']);
  });

  it('has problems first, then what waits for a person, and can show them alone', () => {
    const upgrading = { task: { id: 7, name: 'UPGRADING_CLUSTER', description: '' } } as const;
    const mixed = [
      cluster('a-healthy', '17.9'),
      cluster('b-runs', '17.9', { ...upgrading, upgrade: present({ state: 'running' }) }),
      cluster('c-window', '17.9', { ...upgrading, upgrade: present({ reason: 'window', until: AT }) }),
      cluster('d-unheard', '17.9', { instances: [instance('d-1', { status: 'UNKNOWN' })] }),
      cluster('e-stuck', '17.9', { ...upgrading, upgrade: present({ state: 'running', silent: true }) }),
      cluster('f-canary', '17.9', { ...upgrading, upgrade: present({ reason: 'canary' }) }),
      cluster('g-failed', '17.9', { ...upgrading, upgrade: present({ reason: 'failure' }) }),
      cluster('h-unwell', '17.9', { instances: [instance('h-1', { status: 'ERROR' })] }),
    ];
    const names = (search: string) =>
      matching(mixed, filterOf(new URLSearchParams(search))).map(({ name }) => name.slice(0, 1));
    expect(names('').join('')).toBe('ghfdeabc');
    expect(names('state=problems').join('')).toBe('ghfde');
    expect(names('state=Waits for approval').join('')).toBe('f');
  });

  it('says how an idle cluster is, and what another is busy with', () => {
    const well = instance('a');
    expect(clusterWord(cluster('x', '1')).text).toBe('Healthy');
    const one = (status: ClusterInstanceDocument['status']) =>
      clusterWord(cluster('x', '1', { instances: [well, instance('b', { status })] })).text;
    expect([one('ERROR'), one('UNKNOWN')]).toEqual(['Unwell', 'Partly unknown']);
    const task = { id: 7, name: 'UPGRADING_CLUSTER', description: '' } as const;
    expect(clusterWord(cluster('x', '1', { task })).text).toBe('Upgrading');
    const problems = [{ gate: 'one_primary' as const, reason: 'both' }];
    const two = [instance('a', { role: 'primary' }), instance('b', { role: 'primary' })];
    expect(clusterWord(cluster('x', '1', { task, problems, instances: two }))).toEqual({
      text: '2 primaries',
      tone: 'bad',
    });
    expect(clusterWord(cluster('x', '1', { problems })).text).toBe('No primary');
  });

  it('says of an upgrade how far it is: one that is paused does not look like one that runs', () => {
    const task = { id: 7, name: 'UPGRADING_CLUSTER', description: '' } as const;
    const said = (upgrade: PresentUpgrade) => {
      const { text, tone } = clusterWord(cluster('x', '1', { task, upgrade }));
      return `${text} (${tone})`;
    };
    expect(said(present({ state: 'running' }))).toBe('Upgrading (run)');
    expect(said(present({ state: 'running', silent: true }))).toBe('Upgrading: nothing moves (wait)');
    expect(said(present({ state: 'running', cancelling: true }))).toBe('Being cancelled (wait)');
    expect(said(present({ state: 'scheduled' }))).toBe('Upgrade scheduled (idle)');
    expect(said(present({ state: 'rolling_back' }))).toBe('Rolling back (run)');
    expect(said(present({ reason: 'failure' }))).toBe('Paused: failure (bad)');
    expect(said(present({ reason: 'window', until: AT }))).toBe('Waits for its window (wait)');
  });

  it('says why an instance is not well, once', () => {
    const fault = { message: 'no room', created: '2026-11-30T10:00:00' };
    expect(troublesOf({ fault, service_message: 'the server does not answer' })).toEqual([
      'no room',
      'the server does not answer',
    ]);
    expect(troublesOf({ fault, service_message: 'no room' })).toEqual(['no room']);
    expect(troublesOf({ service_message: null })).toEqual([]);
  });
});

describe('the drawing of a cluster', () => {
  const primary = instance('db-1', { role: 'primary' });
  const replicas = [
    instance('db-2', { role: 'replica', lag_bytes: 16 }),
    instance('db-3', { role: 'replica' }),
  ];

  it.each(['wide', 'narrow'] as const)('leads an arrow to each replica, %s', (shape) => {
    const { spots, arrows, width, height } = topologyOf([...replicas, primary], shape);
    expect(spots.map((spot) => spot.instance.name)).toEqual(['db-1', 'db-2', 'db-3']);
    expect(arrows.map(({ id, lag_bytes }) => [id, lag_bytes])).toEqual([
      ['db-2', 16],
      ['db-3', null],
    ]);
    for (const { x, y } of spots) {
      expect(x).toBeLessThan(width);
      expect(y).toBeLessThan(height);
    }
  });

  it('leads no arrow from the primary to a replica that follows another replica', () => {
    const link = (id: string) => ({ id, links: [] });
    const all = [
      primary,
      instance('db-2', { role: 'replica', replica_of: link(primary.id) }),
      instance('db-3', { role: 'replica', replica_of: link('db-2') }),
    ];
    for (const shape of ['wide', 'narrow'] as const)
      expect(topologyOf(all, shape).arrows.map(({ id }) => id)).toEqual(['db-2']);
    expect(topologyText(all)).toBe('db-2 replicates from db-1; db-3 replicates from db-2');
  });

  it('knows of no arrows where nobody leads, or two do', () => {
    expect(topologyOf([instance('a'), instance('b')], 'wide').arrows).toEqual([]);
    expect(topologyOf([primary, instance('x', { role: 'primary' }), ...replicas], 'wide').arrows).toEqual([]);
  });

  it('draws no two instances over each other', () => {
    const many = Array.from({ length: 30 }, (_, index) => instance(`m-${index}`));
    const places = topologyOf(many, 'wide').spots.map(({ x, y }) => `${x} ${y}`);
    expect(new Set(places).size).toBe(30);
  });

  it('says the same in words', () => {
    expect(topologyText([primary, ...replicas])).toBe('db-2, db-3 replicate from db-1');
    expect(topologyText([primary])).toBe('db-1 is the primary');
    expect(topologyText([instance('a'), instance('b')])).toBe('2 instances side by side');
  });
});

describe('the form of a policy', () => {
  it('begins with what the API takes by itself, and then says nothing', () => {
    expect(problemsOf(DEFAULT_DRAFT)).toEqual({});
    expect(policyOf(DEFAULT_DRAFT, DEFAULT_DRAFT)).toEqual({});
    const typed = TEXT_INPUTS.filter(({ name }) => DEFAULT_DRAFT[name] !== '').map(({ name }) => [name, '']);
    const { overrides: _, ...defaults } = statedPolicy(DEFAULT_POLICY);
    expect(policyOf(DEFAULT_DRAFT, { ...DEFAULT_DRAFT, ...Object.fromEntries(typed) })).toEqual(defaults);
  });

  it('says everything that was typed, as the contract has it', () => {
    const draft = {
      ...DEFAULT_DRAFT,
      on_failure: 'rollback',
      canary: '1',
      max_unavailable: '25%',
      soak_seconds: '30',
      not_before: '2026-11-25T03:00',
      window: '0 2 * * 6,0 ',
      time_zone: 'Europe/Berlin',
      overrides: { guests_alive: ' known ', version_path: ' ' },
    };
    const policy = policyOf(draft, DEFAULT_DRAFT);
    expect(policy).toEqual({
      on_failure: 'rollback',
      canary: 1,
      max_unavailable: '25%',
      soak_seconds: 30,
      not_before: new Date('2026-11-25T03:00').toISOString(),
      window: { cron: '0 2 * * 6,0', duration_seconds: 3600, time_zone: 'Europe/Berlin' },
      overrides: [{ gate: 'guests_alive', reason: 'known' }],
    });
    expect(PolicyRequest.safeParse(policy).error).toBeUndefined();
  });

  it('is told in words, with what the API takes by itself where nothing is said', () => {
    expect(policyTexts({})).toEqual([
      'at most 1 out of service at once',
      'retries of each step: 2',
      'pauses when a step keeps failing',
    ]);
    const window = { cron: '0 2 * * 6,0', duration_seconds: 3600, time_zone: 'UTC' };
    const overrides = [{ gate: 'guests_alive' as const, reason: 'known' }];
    const said = { max_unavailable: '25%', canary: 1, soak_seconds: 90, retries: 1 } as const;
    expect(policyTexts({ ...said, on_failure: 'fail', not_before: null, window, overrides })).toEqual([
      'at most 25% out of service at once',
      'approval after 1',
      'soaks 1 min 30 s after each step',
      'retries of each step: 1',
      'ends as failed when a step keeps failing',
      'in windows 0 2 * * 6,0 of 1 h, UTC',
      'guests_alive skipped: known',
    ]);
  });

  it.each([
    [{ max_unavailable: '0' }, 'max_unavailable'],
    [{ max_unavailable: '101%' }, 'max_unavailable'],
    [{ soak_seconds: '1.5' }, 'soak_seconds'],
    [{ retries: '' }, 'retries'],
    [{ canary: '' }, 'canary'],
    [{ not_before: 'soon' }, 'not_before'],
    [{ window: '* * * * *', window_seconds: 'long' }, 'window_seconds'],
  ])('says of %j what is wrong', (part, field) => {
    expect(Object.keys(problemsOf({ ...DEFAULT_DRAFT, ...part }))).toEqual([field]);
  });
});

describe('the form of a batch', () => {
  const draft = {
    ...{ name: '', datastore: 'postgresql', version: '17.10', range: '', pattern: '', tag: '' },
    allTenants: false,
    waves: FIRST_WAVES,
    policy: BATCH_DRAFT,
  };
  const first = FIRST_WAVES.slice(0, 1);

  it('begins with waves that the contract takes', () => {
    expect(problemOf(draft)).toBeNull();
    const batch = batchOf({ ...draft, range: '>=17.0', tag: ' edge ' });
    expect(batch).toMatchObject({ selector: { datastore: 'postgresql', version: '>=17.0', tag: 'edge' } });
    expect(batch.waves?.map(({ share }) => share)).toEqual([1, '10%', undefined]);
    expect(CreateBatchBody.safeParse({ batch }).error).toBeUndefined();
  });

  it('says of the upgrades only what differs from how a batch has them by itself', () => {
    expect(batchOf(draft)).not.toHaveProperty('policy');
    const policy = { ...BATCH_DRAFT, on_failure: 'pause', canary: '1' };
    expect(batchOf({ ...draft, policy }).policy).toEqual({ on_failure: 'pause', canary: 1 });
  });

  it.each([
    [{ version: '' }, 'Choose the version'],
    [{ waves: first.map((wave) => ({ ...wave, share: 'some' })) }, 'Wave 1: its share'],
    [{ waves: first.map((wave) => ({ ...wave, failureBudget: '101%' })) }, 'failure budget'],
    [{ waves: first.map((wave) => ({ ...wave, maxConcurrent: '0' })) }, 'at once'],
    [{ waves: first.map((wave) => ({ ...wave, outageBudget: '-1' })) }, 'outage budget'],
    [{ waves: first.map((wave) => ({ ...wave, soakMinutes: 'x' })) }, 'soak'],
    [{ policy: { ...BATCH_DRAFT, retries: 'x' } }, 'Correct how each cluster is upgraded.'],
  ])('says of %j what is wrong', (part, text) => expect(problemOf({ ...draft, ...part })).toContain(text));
});

describe('what a person can do to an upgrade', () => {
  const step = (name: string, phase: string) => ({
    instance_id: name,
    instance_name: name,
    phase,
    kind: 'instance',
  });
  const upgrade = {
    cluster_name: 'shop',
    state: 'running',
    reason: null,
    cancelling: false,
    from: { id: 'a', name: '17.6' },
    to: { id: 'b', name: '17.10' },
    progress: { done: 1, total: 3 },
    policy: { canary: 1 },
    steps: [step('db-1', 'done'), step('db-2', 'upgrading'), step('db-3', 'pending')],
  } as unknown as UpgradeDocument;

  it('says of every action what will happen then', () => {
    for (const action of ACTIONS) {
      const { title, sentences } = deedOf(action, upgrade);
      expect(title).toMatch(/the upgrade of shop\?$/);
      expect(sentences.length).toBeGreaterThan(0);
    }
    expect(deedOf('pause', upgrade).sentences[0]).toContain('What is in flight ends first: db-2 (upgrading)');
    expect(deedOf('resume', upgrade).sentences[0]).toContain('db-3');
    expect(deedOf('rollback', { ...upgrade, state: 'succeeded' }).sentences[0]).toContain(
      'A new upgrade begins',
    );
  });

  it('names why it is paused', () => {
    expect(upgradeWord({ ...upgrade, state: 'paused', reason: 'canary' }).text).toBe('Waits for approval');
    expect(upgradeWord({ ...upgrade, cancelling: true }).text).toBe('Being cancelled');
  });

  it('knows a pause that ends by itself from one that waits for a person', () => {
    expect(waitsForPerson({ state: 'paused', until: null })).toBe(true);
    expect(waitsForPerson({ state: 'paused', until: AT })).toBe(false);
    expect(waitsForPerson({ state: 'running', until: null })).toBe(false);
  });

  it('shows a paused upgrade of a batch, too: in the row of its cluster and in the state of the batch', () => {
    expect(memberWord({ state: 'running', held: null }).text).toBe('Running');
    expect(memberWord({ state: 'running', held: 'failure' })).toEqual({
      text: 'Paused: failure',
      tone: 'bad',
    });
    const batch = { state: 'running', reason: null, cancelling: false, message: null } as const;
    expect(batchWord(batch).tone).toBe('run');
    expect(batchWord({ ...batch, message: '1 cluster waits for a person' }).tone).toBe('wait');
    expect(batchWord({ ...batch, state: 'paused', reason: 'failures' }).tone).toBe('bad');
    expect(batchWord({ ...batch, state: 'paused', reason: 'approval' }).tone).toBe('wait');
  });
});
