/** The commands of the documentation, typed from top to bottom as a reader would: against a stack of their own. */
import { afterAll, beforeAll, describe, it } from 'vitest';
import { runPage } from '../support/docs.ts';
import { newHome, RunningStack, removeHome } from '../support/stack.ts';

const stacks: { readonly stack: RunningStack; readonly home: string }[] = [];
afterAll(async () => {
  for (const { stack, home } of stacks) {
    await stack.stop();
    await removeHome(home);
  }
});

/** What a reader has set to reach the stack. */
async function stackFor(env: NodeJS.ProcessEnv): Promise<NodeJS.ProcessEnv & { readonly dir: string }> {
  const home = await newHome();
  const stack = await RunningStack.start(home, env);
  stacks.push({ stack, home });
  const { api_url } = await stack.file();
  return { dir: home, COFFER_HOME: home, COFFER_ENDPOINT: api_url };
}

describe('with external agents', () => {
  let env: Awaited<ReturnType<typeof stackFor>>;
  beforeAll(async () => {
    env = await stackFor({ COFFER_PROVISIONER: 'external' });
  });

  it('docs/drivers.md', { timeout: 900_000 }, async () => {
    const { dir, ...rest } = env;
    await runPage('docs/drivers.md', dir, { ...rest, COFFER_HEARTBEAT_MS: '200' });
  });
});

describe('with the stack of npm start', () => {
  let env: Awaited<ReturnType<typeof stackFor>>;
  beforeAll(async () => {
    env = await stackFor({});
  });

  it.each(['docs/getting-started.md', 'docs/operate.md', 'docs/troubleshooting.md'])(
    '%s',
    { timeout: 900_000 },
    async (page) => {
      const { dir, ...rest } = env;
      await runPage(page, dir, rest);
    },
  );
});
