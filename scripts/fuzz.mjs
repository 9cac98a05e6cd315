// @ts-check
// npm run fuzz -- --inputs N [--seed S]: sends random inputs to every route and every RPC method
// (test/fuzz/), against a RabbitMQ and a Redis of its own. The same seed sends the same inputs. A tenth of
// them are whole messages through RabbitMQ, which take longer than the others: all other inputs are passed
// directly to the api and to the handlers.
import '../bin/node-version.mjs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runVisibly } from './lib/command.mjs';
import { setUp } from './lib/install.mjs';
import { defaultHome, projectRoot } from './lib/paths.mjs';
import { messageOf, Problem, report } from './lib/problem.mjs';
import { createProgress } from './lib/progress.mjs';
import { startServices } from './lib/services.mjs';
import { openSession } from './lib/session.mjs';
import { handleSignals } from './lib/signals.mjs';

/** One of ten inputs goes through RabbitMQ. */
const MESSAGE_SHARE = 0.1;

const USAGE = `usage: npm run fuzz -- [options]

  --inputs N  how many; default 100000
  --seed S    which; default 1`;

/** @returns {{ inputs: number, seed: number } | undefined} */
function readOptions() {
  const word = /** @type {const} */ ({ type: 'string' });
  try {
    const { values } = parseArgs({ options: { inputs: word, seed: word, help: { type: 'boolean' } } });
    if (values.help) return undefined;
    const number = (/** @type {string} */ text) => {
      if (/^\d{1,9}$/.test(text)) return Number(text);
      throw new Problem(`not a whole number: ${text}`, USAGE);
    };
    return { inputs: number(values.inputs ?? '100000'), seed: number(values.seed ?? '1') };
  } catch (error) {
    throw error instanceof Problem ? error : new Problem(messageOf(error), USAGE);
  }
}

async function main() {
  const options = readOptions();
  if (!options) {
    process.stdout.write(`${USAGE}\n`);
    return 0;
  }
  const progress = createProgress();
  const aborter = new AbortController();
  const { signal } = aborter;
  await setUp({ progress, signal });
  const session = await openSession({ home: join(defaultHome(), 'fuzz'), fresh: true, progress });
  const { paths, supervisor } = session;
  handleSignals({
    onStop: () => aborter.abort(),
    onForce() {
      supervisor.signalAll('SIGKILL');
      process.exit(1);
    },
  });
  try {
    const services = await startServices({
      ...{ paths, supervisor, progress, signal, fresh: true, yes: false, prefix: 'COFFER_TEST' },
    });
    const messages = Math.round(options.inputs * MESSAGE_SHARE);
    const env = {
      ...process.env,
      COFFER_TEST_AMQP_URL: services.amqp_url,
      COFFER_TEST_REDIS_URL: services.redis_url,
      COFFER_FUZZ_INPUTS: String(options.inputs - messages),
      COFFER_FUZZ_MESSAGES: String(messages),
      COFFER_FUZZ_SEED: String(options.seed),
    };
    const vitest = join(projectRoot, 'node_modules/vitest/vitest.mjs');
    const code = await runVisibly(process.execPath, [vitest, 'run', 'test/fuzz'], {
      cwd: projectRoot,
      env,
      signal,
    });
    await services.stop();
    return code === 0 ? 0 : 1;
  } finally {
    await session.close();
  }
}

main().then(
  (code) => process.exit(code),
  (error) => {
    report(error);
    process.exit(1);
  },
);
