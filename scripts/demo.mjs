// @ts-check
// npm run demo: a real PostgreSQL cluster is upgraded while a client writes to it. The last line on
// stdout is one JSON object; exit 0 only if everything went well.
import '../bin/node-version.mjs';
import { attachOrStart } from './lib/attach.mjs';
import { readFlags } from './lib/command-line.mjs';
import { demoPorts, runDemo } from './lib/demo.mjs';
import { Problem, report, Stopped } from './lib/problem.mjs';
import { createProgress } from './lib/progress.mjs';
import { showLines } from './lib/readable.mjs';
import { handleSignals } from './lib/signals.mjs';

const FLAGS = {
  keep: 'leave the stack and the cluster up afterwards, and say what to try next',
  fresh: 'begin empty: without the clusters, records and messages of earlier runs',
  yes: 'install what is missing with sudo, without asking',
  verbose: 'show what each process logs',
};

async function main() {
  const flags = readFlags(process.argv.slice(2), FLAGS, 'usage: npm run demo [-- options]');
  const progress = createProgress();
  const aborter = new AbortController();
  const { signal } = aborter;
  const stopped = new Promise((resolve) => signal.addEventListener('abort', resolve));
  /** @type {Awaited<ReturnType<typeof attachOrStart>> | undefined} */
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
    const { fresh, yes, verbose } = flags;
    const show = verbose ? { show: showLines(progress.line, { all: true }) } : {};
    stack = await attachOrStart({ fresh, yes, ...show, ports: await demoPorts(), progress, signal });
    const { lines, result, isGood } = await runDemo({ stack, keep: flags.keep, progress, signal });
    for (const line of lines) process.stdout.write(`${line}\n`);
    process.stdout.write(`${JSON.stringify(result)}\n`);
    process.exitCode = isGood ? 0 : 1;
    if (flags.keep && stack.isOurs) {
      progress.line(`the stack stays up at ${stack.api_url} until Ctrl-C`);
      await stopped;
    }
  } catch (error) {
    process.exitCode = 1;
    if (signal.aborted && !(error instanceof Problem)) throw new Stopped();
    throw error;
  } finally {
    await stack?.stop();
  }
}

main().then(
  () => process.exit(),
  (error) => {
    report(error);
    process.exit(1);
  },
);
