/**
 * The commands of the documentation, typed from top to bottom as a reader would, against a stack of their own.
 * `test/support/typing.ts` says what is done to a page for that, and what is typed elsewhere.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { blocksOf, pageText, runPage, which } from '../support/docs.ts';
import { newHome, RunningStack, removeHome } from '../support/stack.ts';
import { SESSIONS, TOKENS_PAGE } from '../support/typing.ts';

const PATIENCE_MS = 900_000;

describe.each(SESSIONS)('$title', ({ stack: settings, pages }) => {
  let home: string;
  let stack: RunningStack;
  /** What a reader has set to reach it. */
  let env: NodeJS.ProcessEnv;
  beforeAll(async () => {
    home = await newHome();
    const tokens = join(home, 'tokens.yaml');
    const text = blocksOf(TOKENS_PAGE).find((block) => block.text.startsWith('tokens:'))?.text ?? '';
    await writeFile(tokens, text, { mode: 0o600 });
    const ownTokens = settings['COFFER_AUTH'] === 'token' && { COFFER_TOKENS_FILE: tokens };
    stack = await RunningStack.start(home, { ...settings, ...ownTokens });
    const { api_url, amqp_url, redis_url } = await stack.file();
    const urls = { COFFER_ENDPOINT: api_url, COFFER_AMQP_URL: amqp_url, COFFER_REDIS_URL: redis_url };
    env = { COFFER_HOME: home, COFFER_HEARTBEAT_MS: '200', ...urls, ...ownTokens };
  });
  afterAll(async () => {
    await stack?.stop();
    await removeHome(home);
  });

  for (const [page, typing] of Object.entries(pages)) {
    const lacks = ['curl', 'redis-cli'].filter(
      (name) => pageText(page).includes(`\n${name} `) && !which(name),
    );
    const title = lacks.length > 0 ? `${page} (skipped: no ${lacks.join(', ')} here)` : page;
    it.skipIf(lacks.length > 0)(title, { timeout: PATIENCE_MS }, () => runPage(page, home, env, typing));
  }
});
