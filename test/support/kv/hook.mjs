#!/usr/bin/env node
// The hooks of the made-up datastore. Each may be run again at any point.
import { spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const {
  COFFER_HOOK: hook,
  COFFER_DATASTORE_VERSION: version = '',
  COFFER_PORT: port = '',
  KV_DIR: dir,
} = process.env;
const url = `http://127.0.0.1:${port}/`;

/** What the server itself says; null if nobody answers. */
const running = () =>
  fetch(url).then(
    (answer) => answer.json(),
    () => null,
  );

const found = await running();
if (hook === 'health') {
  if (found === null) {
    console.log('nobody answers');
    process.exit(1);
  }
  console.log(JSON.stringify({ version: found.version }));
} else if (!['1.0', '1.1', '1.8', '1.9'].includes(version)) {
  console.log(`there is no release ${version} on this host`);
  process.exit(1);
} else if ((hook === 'upgrade' || hook === 'rollback') && found?.version !== version) {
  if (found !== null) process.kill(found.process);
  while ((await running()) !== null) await sleep(20);
  const log = openSync(`${dir}/${port}.log`, 'a');
  const server = spawn(
    process.execPath,
    [`${import.meta.dirname}/server.mjs`, version, port, `${dir}/${port}.value`],
    // A session and an environment of its own: it does not end with the hook, unless it never answers.
    { detached: version !== '1.8', stdio: ['ignore', log, log], env: {} },
  );
  server.unref();
  server.on('exit', async () => {
    // A server that an earlier run has started may have the port, and be the same release.
    if ((await running())?.version === version) process.exit(0);
    console.log(`release ${version} does not start`);
    process.exit(1);
  });
  while ((await running())?.version !== version) await sleep(20);
  process.exit(0);
}
