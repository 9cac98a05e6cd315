/**
 * Adopting servers in the dashboard, the report on them, and letting them go. In Chromium, against a real api; the
 * test itself plays the taskmanager and the agents.
 */
import { resolve } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { readDashboard } from '../../api/http/dashboard.ts';
import type { AdoptionReport } from '../../src/core/adoption.ts';
import { type Harness, startApi } from '../integration/api-harness.ts';
import { describeBrowser, keepShot, overhang, seriousFindings, TestBrowser } from '../support/browser.ts';
import { adoptionReport } from '../unit/core/adopted.ts';

const BUILT = resolve(import.meta.dirname, '../../dist/dashboard');
const REFUSAL = {
  code: 'not_superuser',
  reason: 'the login is no superuser',
  way_out: 'use postgres',
} as const;

describeBrowser('adoption', () => {
  let api: Harness;
  let browser: TestBrowser;
  beforeAll(async () => {
    api = await startApi({ dashboard: readDashboard(BUILT) });
    api.answerCalls();
    browser = await TestBrowser.start();
  });
  afterEach(() => expect(browser.complaints.splice(0)).toEqual([]));
  afterAll(async () => {
    await browser?.close();
    await api?.close();
  });

  const look = async (page: Page, name: string) => {
    expect(await seriousFindings(page)).toEqual([]);
    expect(await overhang(page)).toBeLessThanOrEqual(0);
    await keepShot(page, name);
  };
  const hear = async (refusals: AdoptionReport['refusals']) => {
    const [id = ''] = await api.store.clusters.find('t1', 'ledger');
    const found = await api.store.clusters.get(id);
    for (const [index, instance] of (found?.instances ?? []).entries()) {
      const role = index === 0 ? 'primary' : 'replica';
      const adoption = adoptionReport({ role }, index === 0 ? [] : refusals);
      const said = { service_status: 'healthy', version: '17.6', role, agent: 'coffer/test' } as const;
      await api.hear(instance.id, {
        ...said,
        sent: Date.now(),
        adoption,
        endpoint: instance.address ?? null,
      });
    }
  };

  it('takes a person from the names of servers to a cluster that can be upgraded, and lets it go', async () => {
    const page = await browser.open(api.origin);
    await page.goto(`${api.origin}/dashboard/t1/clusters`);
    await page.getByRole('link', { name: 'Adopt …' }).first().click();
    await page.getByRole('heading', { level: 1, name: 'Adopt a cluster' }).waitFor();
    await page.getByLabel('Name').fill('ledger');
    await page.getByLabel('Servers').fill('db-1');
    await page.getByRole('button', { name: 'Adopt the cluster' }).click();
    await page.getByText('The cluster was not adopted').waitFor();
    await page.getByLabel('Servers').fill('db-1:5432, db-2:5432');
    await look(page, 'adopt-new');
    await page.getByRole('button', { name: 'Adopt the cluster' }).click();
    await page.getByText('ledger waits for its agents').waitFor();
    expect((await page.locator('pre').textContent())?.match(/COFFER_JOIN_TOKEN=\S{80}/g)).toHaveLength(2);
    await look(page, 'adopt-tokens');
    await page.getByRole('link', { name: 'I have kept them' }).click();

    const panel = page.getByRole('region', { name: 'Adoption' });
    await panel.getByText('ledger-member-2 (db-2:5432): its agent has not joined').waitFor();
    await page.locator('.summary .pill', { hasText: 'Being adopted' }).waitFor();
    await hear([REFUSAL]);
    await panel.getByText('ledger-member-2: the login is no superuser: use postgres').waitFor();
    await panel.getByText('ledger-member-2: what was found, 1 refused').waitFor();
    const open = panel.locator('details[open]');
    await open.getByText('/etc/postgresql/17/main/postgresql.conf').waitFor();
    await open.getByText('ALTER SYSTEM, to the value of the adoption').waitFor();
    await look(page, 'adoption-refused');
    await hear([]);
    await panel.getByText('Every agent has reported, and nothing is refused.').waitFor();
    await page.locator('.summary .pill', { hasText: 'Healthy' }).waitFor();
    await page.locator('.summary').getByText('17.6').first().waitFor();
    await look(page, 'adoption');

    await panel.getByRole('button', { name: 'Release …' }).click();
    const dialog = page.getByRole('dialog', { name: 'Release ledger?' });
    await dialog.getByText('Its servers go on serving.').waitFor();
    await dialog.getByRole('button', { name: 'Release …' }).click();
    await page.locator('.summary .pill', { hasText: 'Being released' }).waitFor();
    await page.context().close();
  });
});
