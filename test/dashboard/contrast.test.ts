/**
 * Every button can be read at every moment: at rest, under the pointer, focused, pressed, and while it changes from
 * one kind into another, as "Approve" does when what runs begins to wait for a person. In Chromium, in light and dark.
 */
import { resolve } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readDashboard } from '../../api/http/dashboard.ts';
import { type Harness, startApi } from '../integration/api-harness.ts';
import { describeBrowser, seriousFindings, TestBrowser } from '../support/browser.ts';

const BUILT = resolve(import.meta.dirname, '../../dist/dashboard');
const KINDS = ['plain', 'primary', 'danger', 'quiet'] as const;
/** Of the time that a change of looks takes. */
const MOMENTS = [0, 0.1, 0.5, 0.9];

/** One button of each kind in the place of the page, as its own style sheet draws them. */
const BUTTONS = `(() => {
  const buttons = ${JSON.stringify(KINDS)}.map((kind) => {
    const button = document.createElement('button');
    button.className = 'button ' + kind;
    button.textContent = 'Approve';
    return button;
  });
  const main = document.createElement('main');
  const heading = document.createElement('h1');
  heading.textContent = 'Buttons';
  main.append(heading, ...buttons);
  document.getElementById('root').replaceChildren(main);
})()`;

/** Each button becomes the kind after its own, `by` kinds further; what moves then is held. */
const becoming = (by: number) => `(() => {
  const kinds = ${JSON.stringify(KINDS)};
  const buttons = [...document.querySelectorAll('.button')];
  buttons.forEach((button, index) => { button.className = 'button ' + kinds[index]; button.offsetWidth; });
  document.getAnimations().forEach((animation) => animation.finish());
  buttons.forEach((button, index) => { button.className = 'button ' + kinds[(index + ${by}) % kinds.length]; });
  return getComputedStyle(buttons[0]).color;
})()`;
const holdAt = (moment: number) => `document.getAnimations().forEach((animation) => {
  animation.pause();
  animation.currentTime = ${moment} * animation.effect.getComputedTiming().endTime;
})`;

describeBrowser('a button of the dashboard', () => {
  let api: Harness;
  let browser: TestBrowser;

  beforeAll(async () => {
    api = await startApi({ dashboard: readDashboard(BUILT) });
    browser = await TestBrowser.start();
  });
  afterAll(async () => {
    await browser?.close();
    await api?.close();
  });

  const withButtons = async (isDark: boolean): Promise<Page> => {
    const page = await browser.open(api.origin, { isDark });
    await page.goto(`${api.origin}/dashboard/t1/clusters`);
    await page.getByText('There are no clusters yet').waitFor();
    await page.evaluate(BUTTONS);
    return page;
  };

  it.each([{ isDark: false }, { isDark: true }])(
    'can be read while it becomes another kind: %o',
    async ({ isDark }) => {
      const page = await withButtons(isDark);
      for (const by of [1, 2, 3]) {
        for (const moment of MOMENTS) {
          await page.evaluate(becoming(by));
          await page.evaluate(holdAt(moment));
          expect({ by, moment, found: await seriousFindings(page) }).toEqual({ by, moment, found: [] });
        }
      }
      await page.context().close();
    },
  );

  it.each([{ isDark: false }, { isDark: true }])(
    'can be read under the pointer, focused and pressed: %o',
    async ({ isDark }) => {
      const page = await withButtons(isDark);
      const settle = () =>
        page.evaluate('document.getAnimations().forEach((animation) => animation.finish())');
      for (const [index, kind] of KINDS.entries()) {
        const button = page.getByRole('button').nth(index);
        await button.hover();
        await settle();
        expect({ kind, found: await seriousFindings(page) }).toEqual({ kind, found: [] });
        await button.focus();
        await button.evaluate('(button) => button.setAttribute("aria-pressed", "true")');
        await settle();
        expect({ kind, found: await seriousFindings(page) }).toEqual({ kind, found: [] });
      }
      await page.context().close();
    },
  );
});
