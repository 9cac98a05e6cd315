/**
 * What is not well can be seen without a search: in the list of clusters, at the head of a cluster, in its drawing, on
 * the page of its upgrade. In Chromium, against a real api; the test itself plays the taskmanager and the guests.
 */
import { resolve } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readDashboard } from '../../api/http/dashboard.ts';
import type { GuestReport } from '../../src/core/domain.ts';
import { beginUpgrade, buildCluster, type Harness, happen, startApi } from '../integration/api-harness.ts';
import {
  describeBrowser,
  keepShot,
  type Look,
  overhang,
  seriousFindings,
  TestBrowser,
} from '../support/browser.ts';
import { until } from '../support/stack.ts';

const BUILT = resolve(import.meta.dirname, '../../dist/dashboard');
const REASON = 'requested WAL segment 000000010000000000000007 has already been removed: build it anew';
const LOOKS: readonly (Look & { readonly name: string })[] = [
  { name: 'light' },
  { name: 'dark', isDark: true },
  { name: 'narrow', isPhone: true },
];

describeBrowser('what is not well', () => {
  let api: Harness;
  let browser: TestBrowser;
  const upgrades = new Map<string, string>();
  const clusters = new Map<string, string>();

  const pause = async (name: string, reason: 'failure' | 'window', message: string, until: number | null) => {
    const id = await beginUpgrade(api, await cluster(name));
    const since = Date.now() - 7_500_000;
    await happen(api.store, id, 'paused', { name: 'paused', started: since, since, reason, message, until });
    upgrades.set(name, id);
  };
  const cluster = async (name: string): Promise<string> => {
    // On a busy machine Redis may be too slow for a moment: the api says so, and is asked again.
    const id = await until('a cluster is built', () => buildCluster(api, name).catch(() => undefined));
    clusters.set(name, id);
    return id;
  };
  const say = async (name: string, report: Omit<GuestReport, 'sent'>, heard = Date.now()) => {
    const found = await api.store.clusters.get(clusters.get(name) ?? '');
    await api.store.clusters.heartbeat(
      found?.instances[1]?.id ?? '',
      { ...report, sent: Date.now() + 1 },
      heard,
    );
  };
  const go = (page: Page, path: string) => page.goto(`${api.origin}/dashboard/t1/${path}`);
  const look = async (page: Page, name: string) => {
    expect(await seriousFindings(page)).toEqual([]);
    expect(await overhang(page)).toBeLessThanOrEqual(0);
    await keepShot(page, name);
  };

  beforeAll(async () => {
    api = await startApi({ dashboard: readDashboard(BUILT) });
    api.answerCalls();
    await cluster('alright');
    const running = { name: 'running', started: Date.now() } as const;
    await happen(api.store, await beginUpgrade(api, await cluster('busy')), 'started', running);
    await pause('night', 'window', 'the window "0 2 * * *" (UTC) is closed', Date.now() + 3_600_000);
    await pause('stopped', 'failure', 'stopped-member-1 has failed 3 times: disk is full', null);
    await cluster('torn');
    await say('torn', { service_status: 'failed', version: '1.0', role: 'member', message: REASON });
    browser = await TestBrowser.start();
  });
  afterAll(async () => {
    await browser?.close();
    await api?.close();
  });

  describe.each(LOOKS)('in $name', ({ name, ...how }) => {
    const shot = (what: string) => `unwell-${what}-${name}`;

    it('stands first in the list of clusters, with reason and time, and can be shown alone', async () => {
      const page = await browser.open(api.origin, how);
      await go(page, 'clusters');
      const row = (named: string) => page.getByRole('row').filter({ hasText: named });
      await row('stopped').getByText('Paused: failure').waitFor();
      await row('stopped').getByText('2 h ago: stopped-member-1 has failed 3 times: disk is full').waitFor();
      await row('night').getByText('Waits for its window').waitFor();
      await row('torn').getByText(`torn-member-2: ${REASON}`).waitFor();
      expect(await row('stopped').getByText('available').count()).toBe(0);
      expect(await page.locator('.clusters tbody th').allTextContents()).toEqual([
        'stopped',
        'torn',
        'alright',
        'busy',
        'night',
      ]);
      await look(page, shot('clusters'));
      await page.getByLabel('Filter by state').selectOption({ label: 'Problems' });
      await page.getByText('2 of 5 clusters').waitFor();
      expect(page.url()).toContain('state=problems');
      await page.context().close();
    });

    it('says at the head of a cluster and of its upgrade why, since when, and who is waited for', async () => {
      const page = await browser.open(api.origin, how);
      await go(page, `clusters/${clusters.get('stopped')}`);
      await page.getByRole('alert').getByText('The upgrade to 1.1: Paused: failure').waitFor();
      await page.getByText('It waits for a person.').waitFor();
      await look(page, shot('cluster-paused'));
      await page.getByRole('link', { name: 'Go to the upgrade' }).click();
      await page
        .getByText('Stopped-member-1 has failed 3 times')
        .or(page.getByText('paused since'))
        .first()
        .waitFor();
      await look(page, shot('upgrade-paused'));
      await go(page, `clusters/${clusters.get('night')}`);
      await page.getByText('It goes on by itself at').waitFor();
      await go(page, `upgrades/${upgrades.get('night')}`);
      // Nobody is waited for: no button is the one to press.
      await page.getByRole('button', { name: 'Pause' }).waitFor();
      expect(await page.locator('.page-aside .primary').count()).toBe(0);
      await page.context().close();
    });

    it('says why an instance has failed, in words and in the drawing', async () => {
      const page = await browser.open(api.origin, how);
      await go(page, `clusters/${clusters.get('torn')}`);
      await page.getByRole('alert').getByText('torn-member-2: Failed').waitFor();
      await page.getByRole('alert').getByText(REASON).waitFor();
      expect(await page.locator('svg.topology title').allTextContents()).toContain(
        `torn-member-2: Failed; ${REASON}`,
      );
      await look(page, shot('cluster-failed'));
      await go(page, 'health');
      await page.getByRole('cell', { name: REASON }).waitFor();
      await look(page, shot('health'));
      await page.context().close();
    });
  });
});
