/**
 * A person's way through the dashboard, in Chromium, over the whole stack: from creating a PostgreSQL
 * cluster to its finished upgrade, a canary that is approved, a failing upgrade that is rolled back, a batch,
 * a dead letter; with a reload, and an api that dies, in the middle. Sign-in is in session.test.ts.
 */
import { readFile } from 'node:fs/promises';
import { connect } from 'amqplib';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { type CofferClient, createClient } from '../../client/index.ts';
import { describeBrowser, keepShot, overhang, seriousFindings, TestBrowser } from '../support/browser.ts';
import { newHome, RunningStack, removeHome, until } from '../support/stack.ts';

const SLOW_MS = 240_000;

describeBrowser('the dashboard', () => {
  let home: string;
  let stack: RunningStack;
  let client: CofferClient;
  let browser: TestBrowser;
  let origin: string;
  let page: Page;

  beforeAll(async () => {
    home = await newHome();
    [stack, browser] = await Promise.all([RunningStack.start(home), TestBrowser.start()]);
    origin = (await stack.file()).api_url;
    client = createClient({ endpoint: `${origin}/v1.0/demo` });
  }, SLOW_MS);
  beforeEach(async () => {
    page = await browser.open(origin);
  });
  afterEach(async () => {
    await page.context().close();
    expect(browser.complaints.splice(0)).toEqual([]);
  });
  afterAll(async () => {
    await browser?.close();
    await stack?.stop();
    await removeHome(home);
  });

  const go = (path: string) => page.goto(`${origin}/dashboard/demo/${path}`);
  const heading = (name: string | RegExp) => page.getByRole('heading', { level: 1, name });
  const button = (name: string | RegExp) => page.getByRole('button', { name });
  const confirm = async (name: string) => {
    await page.getByRole('dialog').getByRole('button', { name, exact: true }).click();
    await page.getByRole('dialog').waitFor({ state: 'hidden' });
  };
  /** The plan may have become another one since it was shown: then it is looked at again. */
  const confirmUpgrade = async () => {
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('button', { name: 'Upgrade it' }).click();
    await until('the upgrade is begun', async () => {
      if ((await dialog.count()) === 0) return true;
      if (!(await button('Show the new one').isVisible())) return false;
      await button('Show the new one').click();
      await dialog.getByRole('button', { name: 'Upgrade it' }).click();
      return false;
    });
  };
  const state = (text: string) => page.locator('.hero .pill', { hasText: text }).waitFor();
  const look = async (name: string) => {
    expect(await seriousFindings(page)).toEqual([]);
    expect(await overhang(page)).toBeLessThanOrEqual(0);
    await keepShot(page, name);
  };
  const simulated = async (name: string, properties: object, tags: string[] = []) => {
    await client.clusters.create({
      name,
      datastore: { type: 'simulated', version: '1.0' },
      instances: [{}, {}, {}],
      extended_properties: { simulated: properties, tags },
    });
    return client.clusters.waitFor(name, { intervalMs: 100 });
  };

  it('leads to the clusters, says that there are none, and does not know of other pages', async () => {
    await page.goto(`${origin}/dashboard`);
    await page.getByText('There are no clusters yet').waitFor();
    expect(page.url()).toBe(`${origin}/dashboard/demo/clusters`);
    await look('clusters-none');
    await go('no/such/page');
    await heading('There is no such page').waitFor();
    await go('clusters/nobody');
    await page.getByText("Cluster 'nobody' cannot be found.").waitFor();
    await go('upgrades/00000000-0000-4000-8000-000000000000');
    await page.getByText('Upgrades are forgotten with their cluster.').waitFor();
  });

  it(
    'takes a person from creating a PostgreSQL cluster to its finished upgrade',
    async () => {
      await go('clusters');
      await page.getByRole('link', { name: 'New cluster' }).click();
      await heading('New cluster').waitFor();
      await page.getByLabel('Name').fill('shop');
      await page.getByLabel('Version').selectOption('17.6');
      await look('cluster-new');
      await button('Create the cluster').click();
      await heading('shop').waitFor();
      await page.locator('.summary .pill', { hasText: 'Healthy' }).waitFor({ timeout: SLOW_MS });
      await page
        .getByRole('img', { name: /shop-member-2, shop-member-3 replicate from shop-member-1/ })
        .waitFor();
      await look('cluster');

      await page.getByRole('link', { name: 'Upgrade …' }).click();
      await heading('Upgrade shop').waitFor();
      await page.getByText('becomes primary').first().waitFor();
      expect(await page.locator('.plan li .what b').allTextContents()).toEqual([
        'shop-member-2',
        'shop-member-3',
        'Switchover',
        'shop-member-1',
      ]);
      await look('upgrade-ask');
      await button('Upgrade to 17.10 …').click();
      await page.getByRole('dialog', { name: 'Upgrade shop to 17.10?' }).waitFor();
      await look('upgrade-confirm');
      await confirmUpgrade();

      await state('Succeeded');
      await page.getByText('4 of 4', { exact: true }).waitFor();
      await look('upgrade-done');
      const { instances, upgrade_id } = await client.clusters.get('shop');
      expect(instances.map(({ version }) => version)).toEqual(['17.10', '17.10', '17.10']);
      const events = await client.upgrades.events(upgrade_id ?? '');
      expect(await logLines(page)).toHaveLength(events.length);
      await page.getByRole('link', { name: 'shop', exact: true }).click();
      await page.getByRole('link', { name: '17.6 → 17.10' }).waitFor();
    },
    SLOW_MS,
  );

  it(
    'waits for an approval after the canary, through a reload and the death of the api, without a gap',
    async () => {
      const { name } = await client.clusters.create({
        name: 'orders',
        datastore: { type: 'postgresql', version: '17.8' },
        instances: [{}, {}, {}],
      });
      await client.clusters.waitFor(name, { intervalMs: 100, signal: AbortSignal.timeout(SLOW_MS) });
      await go('clusters/orders/upgrade');
      await page.getByText('17.9', { exact: true }).click();
      await page.getByText('Try it on one instance first').click();
      await button('Upgrade to 17.9 …').click();
      await confirmUpgrade();
      await state('Waits for approval');
      const before = await logLines(page);
      await page.reload();
      await state('Waits for approval');
      await until('the same is shown again', async () => (await logLines(page)).join() === before.join());
      await page.locator('.gantt .pause').first().waitFor();
      await look('upgrade-canary');

      process.kill((await stack.file()).pids['api'] ?? 0, 'SIGKILL');
      await page.getByText('Connection lost, trying again: nothing will be missed').waitFor();
      await page.getByText('Live', { exact: true }).waitFor();
      await button('Approve').click();
      await page.getByText('It goes on to the end without asking again').waitFor();
      await confirm('Approve');
      await state('Succeeded');
      const { upgrade_id } = await client.clusters.get('orders');
      const events = await client.upgrades.events(upgrade_id ?? '');
      await until('every event is shown, once', async () => (await logLines(page)).length === events.length);
    },
    SLOW_MS,
  );

  it(
    'shows why an upgrade fails, and takes it back',
    async () => {
      const error = 'disk is full: 0 bytes left';
      const failure = { instance: 1, action: 'upgrade' as const, times: 2, error };
      await simulated('ledger', { upgrade_ms: 300, fail: [failure] });
      await go('clusters/ledger/upgrade');
      await page.getByText('More settings').click();
      await page.getByLabel('Retries').fill('1');
      await button('Upgrade to 2.0 …').click();
      await confirmUpgrade();
      await state('Paused: failure');
      await page.getByRole('alert').getByText(error).waitFor();
      await look('upgrade-failed');
      await button('Roll back').click();
      await page.getByText('Then every instance that runs 2.0 goes back to 1.0').waitFor();
      await look('upgrade-rollback');
      await confirm('Roll back');
      await state('Rolled back');
      const { instances } = await client.clusters.get('ledger');
      expect(instances.map(({ version }) => version)).toEqual(['1.0', '1.0', '1.0']);
      await look('upgrade-rolled-back');
    },
    SLOW_MS,
  );

  it('explains in place what would be refused, and what changed since it was looked at', async () => {
    const cluster = await simulated('billing', { upgrade_ms: 600_000 });
    await go('clusters/billing/upgrade');
    await page.getByText('1 other version, with what stands in the way').click();
    await page.getByText('runs now').click();
    await page.getByText('Blocked by upgrade_needed').waitFor();
    expect(await button(/^Upgrade to/).isDisabled()).toBe(true);
    await page.getByText('2.0', { exact: true }).click();
    await button('Upgrade to 2.0 …').click();
    // Somebody else is faster.
    const { upgrade_id } = await client.clusters.upgrade(cluster, '1.1');
    await page.getByRole('dialog').getByRole('button', { name: 'Upgrade it' }).click();
    await page.getByText('The upgrade was not begun').waitFor();
    await page.keyboard.press('Escape');
    await page.getByText('Blocked by cluster_idle').waitFor();
    await look('upgrade-refused');
    await until('an instance is being upgraded', async () =>
      (await client.upgrades.get(upgrade_id)).steps.some(({ phase }) => phase === 'upgrading'),
    );
    await go(`upgrades/${upgrade_id}`);
    await button('Cancel').click();
    await confirm('Cancel');
    await state('Being cancelled');
    await client.clusters.resetStatus(cluster);
  });

  it('finds clusters by what they are, and keeps the search in the address', async () => {
    await go('clusters');
    await page.getByLabel('Search clusters').fill('shop');
    await until('one is left', async () => (await page.locator('.clusters tbody tr').count()) === 1);
    await page.getByLabel('Search clusters').fill('');
    await page.getByLabel('Filter by datastore').selectOption('simulated');
    await page.getByText(/^\d of \d clusters$/).waitFor();
    expect(page.url()).toContain('datastore=simulated');
    await page.reload();
    await page.getByRole('link', { name: 'ledger', exact: true }).waitFor();
    expect(await page.getByRole('link', { name: 'shop', exact: true }).count()).toBe(0);
    await page.getByLabel('Search clusters').fill('nothing like it');
    await page.getByRole('button', { name: 'Show all of them' }).click();
    await page.getByRole('link', { name: 'shop', exact: true }).waitFor();
    await look('clusters');
  });

  it(
    'takes many clusters along, wave by wave, and hands out the report',
    async () => {
      const fail = [{ instance: 0, action: 'upgrade' as const, error: 'checksum mismatch', permanent: true }];
      await Promise.all(
        Array.from({ length: 5 }, (_, index) =>
          simulated(`edge-${index + 1}`, { upgrade_ms: 200, ...(index === 4 && { fail }) }, ['edge']),
        ),
      );
      await go('batches');
      await page.getByText('There are no batches yet').waitFor();
      await page.getByRole('link', { name: 'New batch' }).click();
      await page.getByLabel('Datastore').selectOption('simulated');
      await page.getByRole('textbox', { name: 'Tag', exact: true }).fill('edge');
      await page.getByLabel('Name of the batch').fill('edge fleet');
      const second = page.getByRole('group', { name: 'Wave 2' });
      await second.getByLabel('Clusters').fill('40%');
      await page.getByRole('group', { name: 'Wave 3' }).getByText('Wait for an approval').click();
      const each = page.getByRole('region', { name: 'How each is upgraded' });
      expect(await each.getByRole('radio', { name: 'Fail', exact: true }).isChecked()).toBe(true);
      await each.getByText('More settings').click();
      await each.getByLabel('Out of service at once').fill('50%');
      await each.getByLabel('Retries').fill('21');
      await page.getByText('Correct how each cluster is upgraded.').waitFor();
      await each.getByLabel('Retries').fill('1');
      await page.getByText('5 clusters', { exact: true }).waitFor();
      await look('batch-new');
      await button('Upgrade 5 clusters …').click();
      await page
        .getByText(
          'Each cluster: at most 50% out of service at once; retries of each step: 1; ends as failed when a step keeps failing.',
        )
        .waitFor();
      await confirm('Begin');
      await heading('edge fleet').waitFor();
      const batch = await client.batches.get(page.url().split('/').at(-1) ?? '');
      expect(batch.policy).toEqual({ on_failure: 'fail', retries: 1, max_unavailable: '50%' });
      await page
        .getByRole('region', { name: 'Details' })
        .getByText('ends as failed when a step keeps failing')
        .waitFor();
      await state('Waits for approval');
      await look('batch-approval');
      await button('Approve').click();
      await confirm('Approve');
      await page.locator('.hero .counts-text', { hasText: '1 failed' }).waitFor();
      await page.getByRole('cell', { name: /checksum mismatch/ }).waitFor();
      await look('batch');
      const [download] = await Promise.all([page.waitForEvent('download'), button('Report, CSV').click()]);
      const report = await readFile(await download.path(), 'utf8');
      expect(report.split('\r\n')).toHaveLength(7);
      expect(report).toContain('checksum mismatch');
    },
    SLOW_MS,
  );

  it('shows administrators what nobody could act on, and how all parts are', async () => {
    const connection = await connect((await stack.file()).amqp_url);
    const channel = await connection.createConfirmChannel();
    channel.publish('trove', 'taskmanager', Buffer.from('{"no": "message"}'));
    await channel.waitForConfirms();
    await connection.close();
    await go('dead-letters');
    await page.getByRole('button', { name: 'unreadable' }).click();
    await page.getByRole('dialog').getByText('"no": "message"').waitFor();
    await look('dead-letter');
    await button('Discard …').click();
    await confirm('Discard it');
    await page.getByText('There are none').waitFor();
    await page.getByRole('link', { name: 'Health' }).click();
    await page.getByText('1 at work').waitFor();
    await look('health');
  });

  it('can be used by keys alone', async () => {
    await go('clusters');
    await page.getByRole('link', { name: 'ledger', exact: true }).waitFor();
    await heading('Clusters').waitFor();
    await page.getByRole('link', { name: 'Skip to the content' }).focus();
    await page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
    expect(await page.evaluate<string>('document.activeElement.textContent')).toBe('Adopt …');
    await page.keyboard.press('Tab');
    expect(await page.evaluate<string>('document.activeElement.textContent')).toBe('New cluster');
    await page.keyboard.press('Tab');
    await page.keyboard.type('ledger');
    await until('one is left', async () => (await page.locator('.clusters tbody tr').count()) === 1);
    await page.getByRole('link', { name: 'ledger', exact: true }).press('Enter');
    await heading('ledger').waitFor();
    expect(await page.evaluate<string>('document.activeElement.textContent')).toBe('ledger');
    await page.getByRole('link', { name: 'Upgrade …' }).press('Enter');
    await button('Upgrade to 2.0 …').press('Enter');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'hidden' });
    expect(await page.evaluate<string>('document.activeElement.textContent')).toBe('Upgrade to 2.0 …');
  });

  it(
    'fits a phone, in the dark too, and tells times in the zone of whoever looks',
    async () => {
      const { upgrade_id } = await client.clusters.get('orders');
      for await (const batch of client.batches.list()) {
        await page.context().close();
        page = await browser.open(origin, { isPhone: true, isDark: true, timezoneId: 'Asia/Kolkata' });
        const places = [
          ['clusters', 'clusters', 'Clusters'],
          ['cluster', 'clusters/orders', 'orders'],
          ['upgrade-ask', 'clusters/shop/upgrade', 'Upgrade shop'],
          ['upgrade', `upgrades/${upgrade_id}`, 'orders to 17.9'],
          ['batch', `batches/${batch.id}`, 'edge fleet'],
          ['batch-new', 'batches/new', 'New batch'],
          ['health', 'health', 'Health'],
        ] as const;
        for (const [name, path, title] of places) {
          await go(path);
          await heading(title).waitFor();
          await page.locator('.loading').first().waitFor({ state: 'detached' });
          await look(`phone-${name}`);
        }
        await page
          .getByText('Times are in Asia/Kolkata (UTC+5:30).')
          .or(page.getByText('Asia/Calcutta'))
          .waitFor();
      }
    },
    SLOW_MS,
  );
});

async function logLines(page: Page): Promise<readonly string[]> {
  const every = page.getByRole('button', { name: 'Every phase' });
  if ((await every.getAttribute('aria-pressed')) === 'false') await every.click();
  return page.getByRole('log').getByRole('listitem').allTextContents();
}
