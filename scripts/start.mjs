// @ts-check
// npm start: brings the stack up and keeps it up until Ctrl-C. lib/stack.mjs lists its parts.
import '../bin/node-version.mjs';
import { readFlags } from './lib/command-line.mjs';
import { report, Stopped } from './lib/problem.mjs';
import { createProgress } from './lib/progress.mjs';
import { showLines } from './lib/readable.mjs';
import { handleSignals } from './lib/signals.mjs';
import { startStack } from './lib/stack.mjs';

const FLAGS = {
  fresh: 'begin empty: without the clusters, records and messages of earlier runs',
  yes: 'install what is missing with sudo, without asking',
  quiet: 'show nothing of what the processes log',
  verbose: 'show all of it, RabbitMQ and Redis included',
};

async function main() {
  const flags = readFlags(process.argv.slice(2), FLAGS, 'usage: npm start [-- options]');
  const progress = createProgress();
  const aborter = new AbortController();
  const stopped = new Promise((resolve) => aborter.signal.addEventListener('abort', resolve));
  /** @type {import('./lib/stack.mjs').Stack | undefined} */
  let stack;
  handleSignals({
    onStop(reason) {
      progress.line(`stopping (${reason}); once more to force it`);
      aborter.abort();
    },
    onForce() {
      progress.line('stopping by force');
      Promise.resolve(stack?.kill()).finally(() => process.exit(1));
    },
  });

  try {
    const { fresh, yes, quiet, verbose } = flags;
    const show = quiet ? {} : { show: showLines(progress.line, { all: verbose }) };
    stack = await startStack({ fresh, yes, ...show, progress, signal: aborter.signal });
  } catch (error) {
    if (error instanceof Stopped) return;
    throw error;
  }
  if (!aborter.signal.aborted) {
    process.stdout.write(`ready: ${stack.api_url} (logs in ${stack.log_dir}; Ctrl-C stops it)\n`);
    process.stdout.write(`dashboard: ${stack.api_url}/dashboard\n`);
    await stopped;
  }
  await progress.step('Stopping', stack.stop);
}

main().then(
  () => process.exit(0),
  (error) => {
    report(error);
    process.exit(1);
  },
);
