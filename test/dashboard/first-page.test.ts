/**
 * How soon the dashboard is of use: in Chromium, with nothing in its cache, against a real api with 20 clusters.
 * Sizes are asserted. Times are printed, and kept beside the screenshots: a busy machine is no fault.
 */
import { resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readDashboard } from '../../api/http/dashboard.ts';
import { buildCluster, type Harness, startApi } from '../integration/api-harness.ts';
import { describeBrowser, type FirstPage, firstPage, keepFigures, TestBrowser } from '../support/browser.ts';

const BUILT = resolve(import.meta.dirname, '../../dist/dashboard');
const CLUSTERS = 20;
/** Of which the middle one counts. */
const VISITS = 7;

describeBrowser('the first page', () => {
  let api: Harness;
  let browser: TestBrowser;

  beforeAll(async () => {
    api = await startApi({ dashboard: readDashboard(BUILT) });
    api.answerCalls();
    for (let number = 1; number <= CLUSTERS; number++) await buildCluster(api, `shop-${number}`);
    browser = await TestBrowser.start();
  });
  afterAll(async () => {
    await browser?.close();
    await api?.close();
  });

  const visit = async (): Promise<FirstPage> => {
    const page = await browser.open(api.origin);
    try {
      return await firstPage(page, `${api.origin}/dashboard/t1/clusters`);
    } finally {
      await page.context().close();
    }
  };

  it('is small, and says how long it takes until its list can be used', async () => {
    const visits: FirstPage[] = [];
    for (let number = 0; number < VISITS; number++) visits.push(await visit());
    const middle = (figure: keyof FirstPage) =>
      Math.round(visits.map((each) => each[figure]).sort((a, b) => a - b)[Math.floor(VISITS / 2)] ?? 0);
    const [bytes, painted_ms] = [middle('bytes'), middle('painted_ms')];
    const [listed_ms, acted_ms] = [middle('listed_ms'), middle('acted_ms')];
    keepFigures('first-page', { clusters: CLUSTERS, visits: VISITS, bytes, painted_ms, listed_ms, acted_ms });
    process.stdout.write(
      `first page: ${Math.ceil(bytes / 1024)} KiB; painted after ${painted_ms} ms, ${CLUSTERS} clusters listed after ` +
        `${listed_ms} ms, a click on one acted on after ${acted_ms} ms (medians of ${VISITS} visits)\n`,
    );
    expect(bytes).toBeGreaterThan(50 * 1024);
    expect(bytes).toBeLessThan(200 * 1024);
    expect(browser.complaints).toEqual([]);
  });
});
