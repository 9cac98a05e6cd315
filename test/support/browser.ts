/**
 * A real Chromium, without a window, for the suites of the dashboard. Where it could not be had the set-up
 * says why, and these suites are skipped with that reason in their title.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import axe from 'axe-core';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { describe } from 'vitest';

/** Screenshots are kept here as artefacts of a run. */
const SHOTS = resolve(import.meta.dirname, '../../.coffer/screenshots');

const missing = process.env['COFFER_TEST_CHROMIUM_MISSING'];

/** A suite that needs a browser. */
export function describeBrowser(title: string, suite: () => void): void {
  describe.skipIf(missing !== undefined)(missing ? `${title} (skipped: ${missing})` : title, suite);
}

export interface Look {
  readonly isPhone?: boolean;
  readonly isDark?: boolean;
  readonly timezoneId?: string;
}

/** Machines are busy: what is waited for may take long. */
const TIMEOUT_MS = 60_000;

/** A browser, and everything that its pages complain of. */
export class TestBrowser {
  /** Errors of scripts, breaches of the page's Content-Security-Policy, requests to other hosts. */
  readonly complaints: string[] = [];
  readonly #browser: Browser;

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  static async start(): Promise<TestBrowser> {
    const executablePath = process.env['COFFER_TEST_CHROMIUM'];
    if (!executablePath)
      throw new Error('COFFER_TEST_CHROMIUM is not set: run the tests with npm test, which finds it');
    // Chromium's sandbox does not run as root.
    const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
    return new TestBrowser(await chromium.launch({ executablePath, args, timeout: TIMEOUT_MS }));
  }

  /** A page with a memory of its own, at `origin` and nowhere else. */
  async open(
    origin: string,
    { isPhone = false, isDark = false, timezoneId = 'Europe/Berlin' }: Look = {},
  ): Promise<Page> {
    const context = await this.#browser.newContext({
      viewport: isPhone ? { width: 390, height: 844 } : { width: 1280, height: 860 },
      deviceScaleFactor: isPhone ? 2 : 1,
      colorScheme: isDark ? 'dark' : 'light',
      timezoneId,
      acceptDownloads: true,
    });
    context.setDefaultTimeout(TIMEOUT_MS);
    this.#listen(context, origin);
    return context.newPage();
  }

  #listen(context: BrowserContext, origin: string): void {
    context.on('weberror', (error) => this.complaints.push(error.error().message));
    context.on('console', (message) => {
      // Answers that are no success are written there by the browser itself; the page says what they mean.
      if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
        this.complaints.push(message.text());
    });
    context.on('request', (request) => {
      const url = request.url();
      if (!url.startsWith(`${origin}/`) && !url.startsWith('blob:')) this.complaints.push(`asked ${url}`);
    });
  }

  async close(): Promise<void> {
    await this.#browser.close();
  }
}

/** Keeps what the page looks like. */
export async function keepShot(page: Page, name: string): Promise<void> {
  mkdirSync(SHOTS, { recursive: true });
  // What sticks to the window would be in the middle of the picture.
  await page.evaluate('scrollTo(0, 0), document.fonts.ready.then(() => undefined)');
  await page.screenshot({ path: join(SHOTS, `${name}.png`), fullPage: true, animations: 'disabled' });
}

/** What axe finds wrong with a page for people who can't see, hear or point: the serious things, in words. */
export async function seriousFindings(page: Page): Promise<readonly string[]> {
  // Run by the debugger: the page's own Content-Security-Policy would not let it in.
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate<axe.AxeResults>(
    "axe.run(document, { resultTypes: ['violations'] })",
  );
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, help, nodes }) => `${id}: ${help} (${nodes.map(({ html }) => html).join(' ')})`);
}

export interface FirstPage {
  /** What the page has loaded of itself, as it was sent. */
  readonly bytes: number;
  /** Since the navigation began, as are the others: something is to be seen. */
  readonly painted_ms: number;
  /** The list has been painted. */
  readonly listed_ms: number;
  /** A click on its first row has led to what that row is of. */
  readonly acted_ms: number;
}

/** Notes in the page itself when it is of use: what asks from outside would be measured along. */
const STOPWATCH = `
  const noted = (globalThis.noted = {});
  noted.isOver = new Promise((resolve) => { noted.end = resolve; });
  new MutationObserver(() => {
    const link = document.querySelector('tbody .row-link');
    if (link && noted.name === undefined) {
      noted.name = link.textContent;
      const painted = () => {
        noted.listed_ms = performance.now();
        document.querySelector('tbody .row-link').click();
      };
      requestAnimationFrame(() => requestAnimationFrame(painted));
    }
    if (noted.listed_ms === undefined || document.querySelector('h1')?.textContent !== noted.name) return;
    noted.acted_ms ??= performance.now();
    noted.end();
  }).observe(document, { childList: true, subtree: true, characterData: true });
`;

/** Goes to a page that shows a list, clicks on the first of it as soon as it is there, and tells how long that took. */
export async function firstPage(page: Page, address: string): Promise<FirstPage> {
  await page.addInitScript(STOPWATCH);
  await page.goto(address);
  await page.evaluate('noted.isOver');
  return page.evaluate<FirstPage>(`({
    bytes: [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
      .filter(({ name }) => name.includes('/dashboard'))
      .reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0),
    painted_ms: performance.getEntriesByName('first-contentful-paint')[0].startTime,
    listed_ms: noted.listed_ms,
    acted_ms: noted.acted_ms,
  })`);
}

/** Keeps what was found beside the screenshots. */
export function keepFigures(name: string, figures: unknown): void {
  mkdirSync(SHOTS, { recursive: true });
  writeFileSync(join(SHOTS, `${name}.json`), `${JSON.stringify(figures)}\n`);
}

/** By how many pixels the page is wider than the window: a phone would scroll sideways. */
export async function overhang(page: Page): Promise<number> {
  return page.evaluate<number>('document.documentElement.scrollWidth - innerWidth');
}
