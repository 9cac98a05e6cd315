// @ts-check
import { spawn } from 'node:child_process';
import { closeSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { readJson, writeJson } from './json-file.mjs';
import { follow, note, openLog } from './logs.mjs';
import { end, identify, MARK, markedWith, send } from './processes.mjs';

/**
 * Keeps named processes running.
 *
 * S1. A process that dies is started again: at once the first time, then after 0.25 s, doubling up to 2 s; a
 *     process that has lived for 10 s counts as if it had never died.
 * S2. Each process is the leader of a process group of its own. So a Ctrl-C at the terminal does not reach
 *     it, the supervisor decides in which sequence processes stop, and processes that it leaves behind can be
 *     ended with it.
 * S3. Its pid and start time are on disk from the moment it runs. So whoever cleans up after a crash of the
 *     supervisor ends exactly the processes that it started, and never a stranger that has got the same pid
 *     since.
 * S4. Start and stop are idempotent; nothing is started again once it was stopped.
 *
 * @typedef {object} Spec
 * @property {string} name
 * @property {string} command
 * @property {readonly string[]} args
 * @property {NodeJS.ProcessEnv} env
 * @property {string} cwd
 * @property {number} [graceMs] from SIGTERM to SIGKILL
 * @property {'end' | 'keep'} [remnants] what happens, when it dies, to processes that it had started in its
 *   group: a broker's helpers must end before it starts again; a guest agent takes its servers back
 *
 * @typedef {{ spec: Spec, deaths: number, phase: Phase, unfollow: () => void }} Entry
 * @typedef {import('node:child_process').ChildProcess} ChildProcess
 * @typedef {{ is: 'running', child: ChildProcess, since: number, gone: Promise<void> }
 *   | { is: 'waiting', timer: NodeJS.Timeout }
 *   | { is: 'stopping', child: ChildProcess | undefined, done: Promise<void> }} Phase
 */

const GRACE_MS = 10_000;
const LONG_LIFE_MS = 10_000;
const SLOWEST_MS = 2_000;

/**
 * The delay before the next start after this many deaths in a row.
 * @param {number} deaths
 */
function restartDelayMs(deaths) {
  return deaths <= 1 ? 0 : Math.min(SLOWEST_MS, 250 * 2 ** (deaths - 2));
}

export class Supervisor {
  /** @type {Map<string, Entry>} in the order of their start */
  #entries = new Map();
  /** @type {(() => void)[]} */
  #listeners = [];
  #paths;
  #log;
  #show;

  /**
   * @param {object} options
   * @param {import('./paths.mjs').Paths} options.paths
   * @param {(line: string) => void} options.log messages for the person at the terminal
   * @param {(name: string, line: string) => void} [options.show] receives the log lines of the processes
   */
  constructor({ paths, log, show }) {
    this.#paths = paths;
    this.#log = log;
    this.#show = show;
  }

  /** @param {Spec} spec */
  start(spec) {
    if (this.#entries.has(spec.name)) return; // S4
    const show = this.#show;
    const unfollow = show ? follow(this.logOf(spec.name), (line) => show(spec.name, line)) : () => {};
    const entry = /** @type {Entry} */ ({ spec, deaths: 0, unfollow });
    entry.phase = this.#launch(entry);
    this.#entries.set(spec.name, entry);
    this.#changed();
  }

  /**
   * @param {string} name
   * @returns {Promise<void>} settles when the process has ended
   */
  stop(name) {
    const entry = this.#entries.get(name);
    if (!entry) return Promise.resolve();
    const { phase, spec } = entry;
    if (phase.is === 'stopping') return phase.done;
    if (phase.is === 'waiting') clearTimeout(phase.timer);
    const child = phase.is === 'running' ? phase.child : undefined;
    const ended = phase.is === 'running' ? endChild(phase, spec.graceMs ?? GRACE_MS) : Promise.resolve();
    const done = ended.then(() => this.#forget(entry));
    entry.phase = { is: 'stopping', child, done };
    return done;
  }

  /**
   * For the case that no time is left: signals all processes at once (with SIGKILL their whole groups) and
   * starts nothing again.
   * @param {NodeJS.Signals} signal
   */
  signalAll(signal) {
    for (const name of this.names()) void this.stop(name);
    for (const { phase } of this.#entries.values()) {
      const pid = phase.is === 'stopping' ? phase.child?.pid : undefined;
      if (pid !== undefined) send(signal === 'SIGKILL' ? -pid : pid, signal);
    }
  }

  /** @param {() => void} listener called when a process starts, dies or is stopped */
  onChange(listener) {
    this.#listeners.push(listener);
  }

  names() {
    return [...this.#entries.keys()];
  }

  /** The pids of the processes that run right now, by name. */
  pids() {
    /** @type {Record<string, number>} */
    const pids = {};
    for (const [name, { phase }] of this.#entries) {
      if (phase.is === 'running' && phase.child.pid !== undefined) pids[name] = phase.child.pid;
    }
    return pids;
  }

  /** @param {string} name of a process; the result is how often it has died in a row, 0 after a good start */
  deaths(name) {
    return this.#entries.get(name)?.deaths ?? 0;
  }

  /** @param {string} name */
  logOf(name) {
    return join(this.#paths.logs, `${name}.log`);
  }

  /** @param {string} name */
  #recordOf(name) {
    return join(this.#paths.run, `${name}.json`);
  }

  /**
   * @param {Entry} entry
   * @returns {Phase}
   */
  #launch(entry) {
    const { name, command, args, cwd, env } = entry.spec;
    const { home } = this.#paths;
    const fd = openLog(this.logOf(name));
    note(fd, `starting ${name}`);
    const options = { cwd, env: { ...env, [MARK]: home }, detached: true }; // S2
    const child = spawn(command, args, { ...options, stdio: ['ignore', fd, fd] });
    closeSync(fd);
    if (child.pid !== undefined) writeJson(this.#recordOf(name), { ...identify(child.pid), home }); // S3
    const gone = endOf(child).then((how) => this.#died(entry, child, how));
    return { is: 'running', child, since: Date.now(), gone };
  }

  /**
   * @param {Entry} entry
   * @param {ChildProcess} child
   * @param {string} how
   */
  #died(entry, child, how) {
    const { spec, phase } = entry;
    if (phase.is !== 'running') return; // S4: it was told to stop
    if (child.pid !== undefined && spec.remnants !== 'keep') send(-child.pid, 'SIGKILL');
    entry.deaths = Date.now() - phase.since >= LONG_LIFE_MS ? 1 : entry.deaths + 1; // S1
    const delay = restartDelayMs(entry.deaths);
    const again = delay === 0 ? 'starting it again' : `starting it again in ${delay / 1000} s`;
    this.#log(`${spec.name} ended ${how}, ${again} (log: ${this.logOf(spec.name)})`);
    const relaunch = () => {
      entry.phase = this.#launch(entry);
      this.#changed();
    };
    entry.phase = { is: 'waiting', timer: setTimeout(relaunch, delay) };
    this.#changed();
  }

  /** @param {Entry} entry */
  #forget({ spec, unfollow }) {
    unfollow();
    this.#entries.delete(spec.name);
    rmSync(this.#recordOf(spec.name), { force: true });
    this.#changed();
  }

  #changed() {
    for (const listener of this.#listeners) listener();
  }
}

/**
 * Resolves with a description when the process has ended, or could not even start.
 * @param {ChildProcess} child
 * @returns {Promise<string>}
 */
function endOf(child) {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve(signal ? `by ${signal}` : `with exit code ${code}`));
    child.once('error', (error) => {
      if (child.pid === undefined) resolve(`at once: ${error.message}`);
    });
  });
}

/**
 * @param {Extract<Phase, { is: 'running' }>} phase
 * @param {number} graceMs
 */
async function endChild({ child, gone }, graceMs) {
  const { pid } = child;
  if (pid === undefined) return;
  // Only the leader gets the signal: for a database server in its group SIGTERM has another meaning.
  send(pid, 'SIGTERM');
  const timer = setTimeout(() => send(-pid, 'SIGKILL'), graceMs);
  await gone;
  clearTimeout(timer);
  send(-pid, 'SIGKILL'); // the processes it left behind
}

/**
 * Ends the processes that an earlier supervisor over this home left behind. The recorded processes come
 * first, each with the time that it needs to stop cleanly. Then come all others with the mark of this home (a
 * daemon that a broker started, a process that began at the very moment of the crash).
 * @param {import('./paths.mjs').Paths} paths
 * @returns {Promise<number>} how many there were
 */
export async function endLeftovers(paths) {
  const files = readdirSync(paths.run).filter((name) => name.endsWith('.json'));
  const records = files.map((name) => ({ name, .../** @type {any} */ (readJson(join(paths.run, name))) }));
  const ours = records.filter((record) => record.home === paths.home);
  const isService = (/** @type {{ name: string }} */ { name }) => /^(rabbitmq|redis|epmd)\.json$/.test(name);
  let count = 0;
  const sweep = async (/** @type {readonly import('./processes.mjs').Identity[]} */ identities) => {
    const alive = identities.filter(({ pid, started }) => identify(pid)?.started === started);
    count += alive.length;
    await end(alive, [{ signal: 'SIGTERM', waitMs: 25_000 }]);
    // The group of a leader that has ended may still contain processes that the leader had started.
    for (const { pid } of alive) send(-pid, 'SIGKILL');
  };
  await sweep(ours.filter((record) => !isService(record)));
  await sweep(ours.filter(isService));
  // Database servers belong to their guest agents (see database-servers.mjs).
  await sweep(markedWith(MARK, paths.home).filter(({ name }) => name !== 'postgres'));
  for (const name of files) rmSync(join(paths.run, name), { force: true });
  return count;
}
