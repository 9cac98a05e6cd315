/**
 * The dashboard where people sign in: in Chromium, against a real api whose tokens this test knows. Here
 * are sign-in, expiry, and what is offered to whom; the walk through an upgrade is in walk.test.ts.
 */
import { resolve } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import type { Authenticate } from '../../api/access/caller.ts';
import { readDashboard } from '../../api/http/dashboard.ts';
import { TEXT_INPUTS } from '../../dashboard/upgrades/policy.ts';
import { CofferError } from '../../src/core/errors.ts';
import { beginUpgrade, buildCluster, type Harness, startApi } from '../integration/api-harness.ts';
import { describeBrowser, keepShot, seriousFindings, TestBrowser } from '../support/browser.ts';
import { until } from '../support/stack.ts';

const ANN = { 'x-auth-token': 'ann-1' };
const BUILT = resolve(import.meta.dirname, '../../dist/dashboard');

/** Tokens in force, with the roles that they give. */
const tokens = new Map<string, string>();

const authenticate: Authenticate = async ({ headers }) => {
  const token = String(headers['x-auth-token'] ?? '');
  const role = tokens.get(token);
  if (role === undefined)
    throw new CofferError('unauthorized', 'The token in X-Auth-Token is not known here.');
  const user = token.split('-')[0] ?? '';
  const project_id = user === 'nomad' ? null : 't1';
  const credentials = { user_id: user, project_id, roles: [role] };
  return { user, project_id, credentials, is_confined: false };
};

describeBrowser('the dashboard with sign-in', () => {
  let api: Harness;
  let browser: TestBrowser;
  let page: Page;
  let cluster: string;

  /** On a busy machine Redis may be too slow for a moment: the api says so, and is asked again. */
  const build = (name: string) =>
    until('a cluster is built', () => buildCluster(api, name, 't1', ANN).catch(() => undefined));
  const signIn = async (token: string) => {
    await page.getByRole('textbox', { name: 'Token' }).fill(token);
    await page.getByRole('button', { name: 'Sign in' }).click();
  };
  const go = (path: string) => page.goto(`${api.origin}/dashboard/t1/${path}`);
  const heading = (name: string) => page.getByRole('heading', { level: 1, name });

  beforeAll(async () => {
    tokens.set('ann-1', 'member').set('eve-1', 'admin');
    api = await startApi({ authenticate, dashboard: readDashboard(BUILT) });
    api.answerCalls();
    cluster = await build('shop');
    browser = await TestBrowser.start();
  });
  afterEach(async () => {
    await page.context().close();
    expect(browser.complaints.splice(0)).toEqual([]);
  });
  afterAll(async () => {
    await browser?.close();
    await api?.close();
  });

  it('asks who it is before it shows anything, says why a token is refused, and leads on to the place', async () => {
    page = await browser.open(api.origin);
    await go(`clusters/${cluster}`);
    await heading('Sign in to Coffer').waitFor();
    expect(await seriousFindings(page)).toEqual([]);
    await keepShot(page, 'sign-in');
    await signIn('nonsense-nonsense');
    await page.getByRole('alert').getByText('That token was refused').waitFor();
    await signIn('ann-1');
    await heading('shop').waitFor();
  });

  it('takes the project from the token, where the address names none or another', async () => {
    page = await browser.open(api.origin);
    await page.goto(`${api.origin}/dashboard`);
    await heading('Sign in to Coffer').waitFor();
    expect(page.url()).toBe(`${api.origin}/dashboard`);
    await keepShot(page, 'sign-in-bare');
    await signIn('nonsense-nonsense');
    await page.getByRole('alert').getByText('That token was refused').waitFor();
    await signIn('ann-1');
    await page.getByRole('link', { name: 'shop', exact: true }).waitFor();
    expect(page.url()).toBe(`${api.origin}/dashboard/t1/clusters`);
    await page.goto(`${api.origin}/dashboard/demo/clusters`);
    await signIn('ann-1');
    await page.getByRole('link', { name: 'shop', exact: true }).waitFor();
    expect(page.url()).toBe(`${api.origin}/dashboard/t1/clusters`);
  });

  it('goes where an administrator wants to, and says why others may not', async () => {
    page = await browser.open(api.origin);
    await page.goto(`${api.origin}/dashboard`);
    await page.getByLabel('Project').fill('t2');
    await signIn('eve-1');
    await page.getByText('There are no clusters yet').waitFor();
    expect(page.url()).toBe(`${api.origin}/dashboard/t2/clusters`);
    await page.goto(`${api.origin}/dashboard`);
    await page.getByLabel('Project').fill('t2');
    await signIn('ann-1');
    await page.getByRole('alert').getByText('User with tenant id t1 cannot access this resource.').waitFor();
  });

  it('says of a token that is for no project what to do', async () => {
    tokens.set('nomad-1', 'member');
    page = await browser.open(api.origin);
    await page.goto(`${api.origin}/dashboard`);
    await signIn('nomad-1');
    await page.getByRole('alert').getByText('for no project').waitFor();
    expect(await seriousFindings(page)).toEqual([]);
  });

  it('keeps the token in memory alone: a reload asks again, and nothing is left in the browser', async () => {
    page = await browser.open(api.origin);
    await go('clusters');
    await signIn('ann-1');
    await heading('Clusters').waitFor();
    const kept = await page.evaluate<string>(
      'JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href])',
    );
    expect(kept).not.toContain('ann-1');
    await page.reload();
    await heading('Sign in to Coffer').waitFor();
  });

  it('asks anew when the session has expired, and loses neither the place nor what was typed', async () => {
    tokens.set('ann-2', 'member');
    page = await browser.open(api.origin);
    await go(`clusters/${cluster}/upgrade`);
    await signIn('ann-2');
    await heading('Upgrade shop').waitFor();
    await page.getByText('More settings').click();
    await page.getByLabel('Soak, seconds').fill('77');
    tokens.delete('ann-2');
    const dialog = page.getByRole('dialog', { name: 'Your session has expired' });
    await dialog.waitFor();
    expect(await seriousFindings(page)).toEqual([]);
    await keepShot(page, 'session-expired');
    await signIn('ann-2');
    await dialog.getByText('That token was refused').waitFor();
    await signIn('ann-1');
    await dialog.waitFor({ state: 'hidden' });
    expect(await page.getByLabel('Soak, seconds').inputValue()).toBe('77');
    expect(page.url()).toBe(`${api.origin}/dashboard/t1/clusters/${cluster}/upgrade`);
  });

  it('asks for each field of the policy, with its meaning', async () => {
    page = await browser.open(api.origin);
    await go(`clusters/${cluster}/upgrade`);
    await signIn('ann-1');
    await heading('Upgrade shop').waitFor();
    await page.getByText('More settings').click();
    for (const input of TEXT_INPUTS) {
      if ('offer' in input && input.offer) await page.getByLabel(input.offer.label).check();
      if (input.kind === 'choice') {
        const choice = page.getByRole('group', { name: input.label });
        expect(await choice.getByRole('radio').count()).toBe(Object.keys(input.choices).length);
        continue;
      }
      await page.getByLabel(input.kind === 'seconds' ? `${input.label}, seconds` : input.label).waitFor();
      await page.getByText(input.meaning).waitFor();
      if (input.name === 'window') await page.getByLabel(input.label).fill('0 2 * * *');
    }
    expect(await seriousFindings(page)).toEqual([]);
    await keepShot(page, 'upgrade-policy');
  });

  it('goes on hearing events after a new sign-in, each once', async () => {
    const id = await beginUpgrade(api, await build('live'), ANN);
    tokens.set('ann-3', 'member');
    page = await browser.open(api.origin);
    await go(`upgrades/${id}`);
    await signIn('ann-3');
    const lines = page.getByRole('log').getByRole('listitem');
    await lines.first().waitFor();
    tokens.delete('ann-3');
    await page.getByRole('dialog', { name: 'Your session has expired' }).waitFor();
    await signIn('ann-1');
    await page.getByRole('dialog').waitFor({ state: 'hidden' });
    await page.getByText('Live', { exact: true }).waitFor();
    expect(await lines.count()).toBe(1);
  });

  it('offers members nothing that is for administrators', async () => {
    page = await browser.open(api.origin);
    await go('clusters');
    await signIn('ann-1');
    const navigation = page.getByRole('navigation', { name: 'Main' });
    await navigation.getByRole('link', { name: 'Batches' }).waitFor();
    expect(await navigation.getByRole('link').allTextContents()).toEqual(['Clusters', 'Batches']);
    await go('health');
    await signIn('ann-1');
    await page.getByText('Policy does not allow health:show to be performed.').waitFor();
    await page.reload();
    await signIn('eve-1');
    await page.getByText('No dead letters.').waitFor();
    expect(await navigation.getByRole('link').allTextContents()).toEqual([
      'Clusters',
      'Batches',
      'Dead letters',
      'Health',
    ]);
  });

  it('says that nobody answers, goes on showing what it knew, and recovers by itself', async () => {
    page = await browser.open(api.origin);
    await go('clusters');
    await signIn('ann-1');
    const row = page.getByRole('link', { name: 'shop', exact: true });
    await row.waitFor();
    await page.context().setOffline(true);
    await page.getByText('No answer from the API since').waitFor();
    expect(await row.isVisible()).toBe(true);
    await page.context().setOffline(false);
    await page.getByText('No answer from the API since').waitFor({ state: 'hidden' });
  });
});
