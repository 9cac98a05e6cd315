#!/usr/bin/env node
/**
 * The command line. Speaks only HTTP, through the client.
 *
 * - `program.ts` the commands put together, `run(args, io)` · `session.ts` what every command works with
 * - `upgrade-commands.ts` · `action-commands.ts` · `cluster-commands.ts` · `instance-commands.ts` ·
 *   `resize-commands.ts` · `datastore-commands.ts`
 * - `options.ts` · `policy.ts` the options of a policy · `upgrades.ts` an upgrade by id or cluster, and the next
 *   command to type · `version.ts`
 * - `progress.ts` the progress of an upgrade, `live.ts` the same on a terminal · `last-word.ts` its state at
 *   Ctrl-C
 * - `doctor/` what is wrong with an installation · `completion.ts` for shells
 * - `help.ts` how help fits a terminal
 * - `installation.ts` a clone or the published package · `output.ts` tables, tabs or JSON · `failures.ts`
 *   exit codes and what to do next · `io.ts`
 */
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { EXIT } from './failures.ts';
import { Interrupted } from './io.ts';
import { run } from './program.ts';

/** After Ctrl-C a command has this long to ask for the state and report it. */
const LAST_WORD_MS = 2_000;
/** A command that has nothing to report is ended after this time. */
const SILENCE_MS = 300;

const interrupt = new AbortController();
process.on('SIGINT', () => {
  if (interrupt.signal.aborted) process.exit(EXIT.interrupted);
  const reason = new Interrupted('interrupted');
  interrupt.abort(reason);
  setTimeout(() => reason.isAnswered || process.exit(EXIT.interrupted), SILENCE_MS).unref();
  setTimeout(() => process.exit(EXIT.interrupted), LAST_WORD_MS).unref();
});

// `coffer cluster-list | head -1` closes the pipe early, which is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? EXIT.ok : EXIT.failed);
});

process.exitCode = await run(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  signal: interrupt.signal,
  readFile: (path) => (path === '-' ? text(process.stdin) : readFile(path, 'utf8')),
});
