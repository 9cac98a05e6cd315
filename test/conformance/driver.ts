/**
 * The rules that every driver of the guest agent must keep: run on each driver, with real servers. A driver's own suites
 * test what is special about its datastore.
 */
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { access } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import {
  type Driver,
  type Health,
  PermanentError,
  type Roles,
  type Target,
} from '../../guestagent/driver.ts';
import { HeartbeatArgs, heartbeatArgs } from '../../src/contract/rpc.ts';
import type { Endpoint, Role } from '../../src/core/domain.ts';
import { cutOff, stopAt, type Watched, watch } from '../support/cut-off.ts';
import { groupOf } from '../support/process-group.ts';
import { until } from '../support/stack.ts';

interface Answer {
  readonly version: string;
  readonly process: number;
  /** Where a server has one. */
  readonly role?: Role;
}

/** One instance: its driver, and the ways past the driver to its server. */
export interface Subject<D extends Driver = Driver> {
  readonly driver: D;
  readonly name: string;
  readonly endpoint: Endpoint;
  readonly stateDir: string;
  /** What the server itself answers, and which process answers; null if nobody does. */
  ask(): Promise<Answer | null>;
  /** What clients do; absent from servers that keep nothing. */
  readonly data?: { write(value: string): Promise<void>; read(): Promise<string> };
  /** The databases that the server has. Needed where `start` builds servers. */
  databases?(): Promise<readonly string[]>;
  /** The agent was killed: a driver for the same instance that knows nothing but what is on its disk. */
  reopen(): Subject<D>;
}

export interface Options {
  /** The instance may be prepared for an upgrade to this version of the suite. */
  readonly isFor?: 'broken' | 'endless';
  /** Databases to create with the instance; whichever the suite likes if not given. */
  readonly databases?: readonly string[];
}

export interface Suite<D extends Driver = Driver> {
  /** Two versions between which an instance may go forth and back. */
  readonly versions: readonly [from: string, to: string];
  /** A version that the host does not have; null if the driver takes every version. */
  readonly unknown: string | null;
  /** A version that passes `preUpgrade`, and on which no server starts. */
  readonly broken: string;
  /**
   * A version that passes `preUpgrade`, and whose server starts and never answers; null if the driver waits for a command
   * of the operator's, and not for the server.
   */
  readonly endless: string | null;
  /** `agent`: the server stops with its agent; `operator`: the server runs on. */
  readonly serversBelongTo: 'agent' | 'operator';
  /** New instances of one cluster at the first version, not started yet. With roles, the first is the primary. */
  open(count: number, options?: Options): Promise<readonly Subject<D>[]>;
  /** Ends what the instances of `open` have left. */
  close(): Promise<void>;
}

/** Servers are built, stopped and started, on a machine that may be busy. */
const SERVERS_MS = 300_000;
/** A cut-off is tried at each effect of an order, with a whole order afterwards. */
const MANY_ORDERS_MS = 600_000;

const KEPT = 'kept';

/** What the tests of one driver share. */
class Bench<D extends Driver> {
  readonly suite: Suite<D>;
  #subjects: readonly Subject<D>[] = [];

  constructor(suite: Suite<D>) {
    this.suite = suite;
  }

  async open(count = 1, options?: Options): Promise<readonly Subject<D>[]> {
    this.#subjects = await this.suite.open(count, options);
    return this.#subjects;
  }

  async start(count = 1, options?: Options): Promise<readonly Subject<D>[]> {
    const subjects = await this.open(count, options);
    await Promise.all(subjects.map(({ driver }) => driver.start()));
    return subjects;
  }

  async startOne(options?: Options): Promise<Subject<D>> {
    return at(await this.start(1, options), 0);
  }

  /** The next agent of an instance whose agent was killed. */
  async replace(subject: Subject<D>): Promise<Subject<D>> {
    const next = subject.reopen();
    this.#subjects = this.#subjects.map((each) => (each === subject ? next : each));
    await next.driver.start();
    return next;
  }

  async clean(): Promise<void> {
    const subjects = this.#subjects;
    this.#subjects = [];
    await Promise.all(subjects.map(({ driver }) => driver.destroy()));
  }

  /** Does an order, and cuts it off at its first effect, then at its second, until it has no more effects. */
  async atEachEffect(
    subject: Subject<D>,
    order: (driver: D) => Promise<unknown>,
    then: (next: Subject<D>) => Promise<Subject<D>>,
  ): Promise<number> {
    let current = subject;
    for (let effects = 0; ; effects++) {
      const { driver } = current;
      const isCut = await cutOff(() => order(driver), effects);
      if (!isCut) return effects;
      current = await this.replace(current);
      await order(current.driver);
      current = await then(current);
    }
  }
}

export function describeDriver<D extends Driver>(name: string, suite: Suite<D>): void {
  describe(`${name} as a driver`, { timeout: SERVERS_MS }, () => {
    const bench = new Bench(suite);
    afterEach(() => bench.clean());
    afterAll(() => suite.close());
    describeServer(bench);
    describeUpgrade(bench);
    describeRefusals(bench);
    describeEnd(bench);
    describeEndless(bench);
  });
}

/** For a driver whose servers have roles. */
export function describeRoles(
  name: string,
  suite: Suite<Driver & Roles> & {
    /** A log position that no server of a new cluster has reached. */
    readonly farPosition: string;
  },
): void {
  describe(`${name} as a driver of a primary and its replicas`, { timeout: SERVERS_MS }, () => {
    const bench = new Bench(suite);
    afterEach(() => bench.clean());
    afterAll(() => suite.close());
    describeSwitchover(bench);
    describeRoleRefusals(bench, suite.farPosition);
    describeCutOffSwitchover(bench);
  });
}

function describeServer(bench: Bench<Driver>): void {
  const [from] = bench.suite.versions;

  it('starts a server, reports it as it is, and leaves a server that runs alone', async () => {
    const subject = await bench.startOne();
    await serves(subject, from);
    const before = await subject.ask();
    await subject.driver.start();
    expect(await subject.ask()).toEqual(before);
  });

  it('creates the databases that a cluster is created with, or says that it does not', async () => {
    if (bench.suite.serversBelongTo === 'operator') return;
    const subject = at(await bench.open(1, { databases: ['ordered'] }), 0);
    if (!subject.data) return expect(subject.databases, 'there is no server').toBeUndefined();
    const refusal: unknown = await subject.driver.start().catch((error: unknown) => error);
    if (refusal === undefined) expect(await subject.databases?.()).toContain('ordered');
    else expect(String(refusal)).toContain('databases');
  });

  it('finds the server that a killed agent has left, and does not disturb it', async () => {
    const subject = await bench.startOne();
    const before = await subject.ask();
    const next = await bench.replace(subject);
    expect(await next.ask()).toEqual(before);
    await serves(next, from);
  });

  it('does not report a server as healthy that has died, and starts it if it is its own', async () => {
    const subject = await bench.startOne();
    if (!subject.data) return expect((await subject.ask())?.process, 'there is no server').toBe(0);
    await subject.data.write(KEPT);
    process.kill((await subject.ask())?.process ?? 0, 'SIGKILL');
    await until('it is reported', async () => (await healthOf(subject)).service_status !== 'healthy');
    if (bench.suite.serversBelongTo === 'operator') return;
    await subject.driver.start();
    await serves(subject, from);
    await keeps(subject, KEPT);
  });

  it('reports at any moment: before the start, during orders and after the stop', async () => {
    const { versions } = bench.suite;
    const subject = at(await bench.open(), 0);
    const { driver } = subject;
    await healthOf(subject);
    let isOver = false;
    const reports = (async () => {
      const all: Health[] = [];
      while (!isOver) {
        all.push(await healthOf(subject));
        await sleep(5);
      }
      return all;
    })();
    await driver.start();
    await driver.upgrade(target(versions[1]));
    await driver.stop();
    isOver = true;
    for (const { version } of await reports) expect([...versions, null, undefined]).toContain(version);
    await healthOf(subject);
  });
}

function describeUpgrade(bench: Bench<Driver>): void {
  const [from, to] = bench.suite.versions;

  it('prepares without touching the server', async () => {
    const subject = await bench.startOne();
    const before = await subject.ask();
    for (let times = 0; times < 2; times++) {
      const info = await subject.driver.preUpgrade(target(to));
      expect(info).toMatchObject({ reversible: true, role: (await asked(subject)).role });
    }
    expect(await subject.ask()).toEqual(before);
    await serves(subject, from);
  });

  it('brings the version that is asked for, once, and goes back', async () => {
    const subject = await bench.startOne();
    const { driver } = subject;
    await subject.data?.write(KEPT);
    for (const version of [to, from]) {
      await driver.upgrade({ ...target(version), info: await driver.preUpgrade(target(version)) });
      await serves(subject, version);
      const before = await subject.ask();
      await driver.upgrade(target(version));
      await driver.postUpgrade(target(version));
      await driver.postUpgrade(target(version));
      expect(await subject.ask()).toEqual(before);
    }
    await keeps(subject, KEPT);
  });

  it(
    'ends an upgrade that was cut off at any point, when it is said again',
    async () => {
      let subject = await bench.startOne();
      await subject.data?.write(KEPT);
      let goal = to;
      const effects = await bench.atEachEffect(
        subject,
        (driver) => driver.upgrade(target(goal)),
        async (next) => {
          await serves(next, goal);
          goal = goal === to ? from : to;
          subject = next;
          return next;
        },
      );
      expect(effects).toBeGreaterThan(0);
      await serves(subject, goal);
      await keeps(subject, KEPT);
    },
    MANY_ORDERS_MS,
  );
}

function describeRefusals(bench: Bench<Driver>): void {
  const { versions, unknown, broken } = bench.suite;
  const [from, to] = versions;

  if (unknown !== null) {
    it('refuses a version that it does not know, in a sentence, and changes nothing', async () => {
      const subject = await bench.startOne();
      const before = await subject.ask();
      const orders = [
        () => subject.driver.preUpgrade(target(unknown)),
        () => subject.driver.upgrade(target(unknown)),
      ];
      for (const order of orders) {
        const error: unknown = await order().catch((err: unknown) => err);
        expect(error).toBeInstanceOf(PermanentError);
        expect(String(error)).toContain(unknown);
        expect(String(error).split(' ').length).toBeGreaterThan(5);
      }
      expect(await subject.ask()).toEqual(before);
      await serves(subject, from);
    });
  }

  it('serves on the old version after an upgrade that fails, and takes the next order', async () => {
    const subject = await bench.startOne({ isFor: 'broken' });
    await subject.data?.write(KEPT);
    await expect(subject.driver.upgrade(target(broken))).rejects.toThrow();
    await serves(subject, from);
    const next = await bench.replace(subject);
    await serves(next, from);
    await next.driver.upgrade(target(to));
    await serves(next, to);
    await keeps(next, KEPT);
  });

  it('confirms no upgrade to a version that does not run', async () => {
    const subject = await bench.startOne();
    await expect(subject.driver.postUpgrade(target(to))).rejects.toThrow(from);
    await subject.driver.postUpgrade(target(from));
  });
}

function describeEnd(bench: Bench<Driver>): void {
  const { versions, serversBelongTo } = bench.suite;
  const [from, to] = versions;

  it(`stops ${serversBelongTo === 'agent' ? 'its server' : 'and leaves the server running'}; the next agent goes on`, async () => {
    const subject = await bench.startOne();
    await subject.driver.upgrade(target(to));
    await subject.data?.write(KEPT);
    const before = await subject.ask();
    await subject.driver.stop();
    await subject.driver.stop();
    if (serversBelongTo === 'operator') expect(await subject.ask()).toEqual(before);
    else {
      expect((await healthOf(subject)).service_status).toBe('shutdown');
      if (subject.data) expect(await subject.ask()).toBeNull();
    }
    const next = await bench.replace(subject);
    await serves(next, to);
    await keeps(next, KEPT);
  });

  it(
    'ends an order at any point when the agent stops, with what it has started; said again, it is carried out',
    async () => {
      let subject = await bench.startOne();
      for (let effects = 0; ; effects++) {
        const goal = effects % 2 === 0 ? to : from;
        const { driver } = subject;
        const started = await stopAt(
          () => driver.upgrade(target(goal)),
          effects,
          () => driver.stop(),
        );
        if (started === null) return expect(effects).toBeGreaterThan(0);
        await isStopped(bench, subject, started);
        subject = await bench.replace(subject);
        await subject.driver.upgrade(target(goal));
        await serves(subject, goal);
      }
    },
    MANY_ORDERS_MS,
  );

  it('is removed with all that it has made, also when that is said twice', async () => {
    const subject = await bench.startOne();
    const before = await subject.ask();
    await subject.driver.destroy();
    await subject.driver.destroy();
    await expect(access(subject.stateDir)).rejects.toThrow('ENOENT');
    if (serversBelongTo === 'operator') expect(await subject.ask()).toEqual(before);
    else if (subject.data) expect(await subject.ask()).toBeNull();
    expect((await healthOf(subject)).service_status).not.toBe('healthy');
  });
}

function describeEndless(bench: Bench<Driver>): void {
  const { versions, endless } = bench.suite;
  const [from] = versions;
  if (endless === null) return;

  it('ends an order that would last for ever when the agent stops', async () => {
    const subject = await bench.startOne({ isFor: 'endless' });
    const order = await endlessOrder(subject, endless);
    await subject.driver.stop();
    await expect(order.done).rejects.toThrow();
    await isStopped(bench, subject, order.processes);
  });

  it('gives up waiting for a server that never answers, ends it, and serves on the old version', async () => {
    const subject = await bench.startOne({ isFor: 'endless' });
    if (!subject.data) return expect((await subject.ask())?.process, 'there is no server').toBe(0);
    await subject.data.write(KEPT);
    const order = await endlessOrder(subject, endless);
    const server = order.processes.filter(isRunning);
    order.passDay();
    await expect(order.done).rejects.toThrow();
    await noneRuns(server);
    await serves(subject, from);
    await keeps(subject, KEPT);
  });
}

/** An upgrade that waits for a server that never answers. */
async function endlessOrder(subject: Subject, version: string): Promise<Watched> {
  const order = watch(() => subject.driver.upgrade(target(version)));
  if (!subject.data) return order;
  await until('nothing but the endless server runs', async () => {
    return order.processes.some(isRunning) && (await subject.ask()) === null;
  });
  return order;
}

/** After `stop` and the end of the order. */
async function isStopped(
  { suite }: Bench<Driver>,
  subject: Subject,
  started: readonly ChildProcess[],
): Promise<void> {
  if (suite.serversBelongTo === 'operator') return;
  await noneRuns(started);
  if (subject.data) expect(await subject.ask()).toBeNull();
  expect((await healthOf(subject)).service_status).toBe('shutdown');
}

function describeSwitchover(bench: Bench<Driver & Roles>): void {
  const [from] = bench.suite.versions;

  it('hands over without losing a write; each order may be said twice', async () => {
    const subjects = await bench.start(3);
    const [[a, b], c] = [pair(subjects), at(subjects, 2)];
    await a.data?.write('before');
    const demote = () => a.driver.demote({ successor: b.name });
    const passed = await demote();
    expect(await demote()).toEqual(passed);
    expect(await a.ask()).toBeNull();
    expect(await healthOf(a)).toMatchObject({ service_status: 'shutdown', role: null, version: null });
    await b.driver.promote(passed);
    await b.driver.promote(passed);
    await keeps(b, 'before');
    await b.data?.write('after');
    for (const other of [c, a]) {
      await other.driver.follow({ primary: b.endpoint });
      const before = await other.ask();
      await other.driver.follow({ primary: b.endpoint });
      expect(await other.ask()).toEqual(before);
      await until(`${other.name} has what was written`, async () => (await other.data?.read()) === 'after');
    }
    for (const subject of [a, b, c]) {
      await serves(subject, from);
      expect((await healthOf(subject)).role).toBe(subject === b ? 'primary' : 'replica');
    }
  });

  it('reports after an order nothing that was seen before its end, though asked all the time', async () => {
    const [{ driver }] = pair(await bench.start(2));
    let isOver = false;
    const asking = (async () => {
      while (!isOver) {
        await driver.health();
        await sleep(0);
      }
    })();
    const roles = [];
    for (let rounds = 0; rounds < 8; rounds++) {
      const passed = await driver.demote({ successor: null });
      roles.push((await driver.health()).role);
      await driver.promote(passed);
      roles.push((await driver.health()).role);
    }
    isOver = true;
    await asking;
    expect(roles).toEqual(Array.from({ length: 8 }, () => [null, 'primary']).flat());
  });

  it('keeps a demoted primary down, also under the next agent, until it is told its role', async () => {
    const [first, second] = pair(await bench.start(2));
    const passed = await first.driver.demote({ successor: null });
    let next = await bench.replace(first);
    expect(await next.ask()).toBeNull();
    expect(await healthOf(next)).toMatchObject({ service_status: 'shutdown', role: null });
    expect(await next.driver.demote({ successor: null })).toEqual(passed);
    await next.driver.promote(passed);
    await next.driver.promote(passed);
    await serves(next, from);
    expect((await healthOf(next)).role).toBe('primary');
    next = await bench.replace(next);
    expect((await healthOf(next)).role).toBe('primary');
    await until('the replica replicates again', async () => (await healthOf(second)).lag_bytes === 0);
  });
}

function describeRoleRefusals(bench: Bench<Driver & Roles>, farPosition: string): void {
  it('refuses what could lose a write or make two primaries, and the servers serve on', async () => {
    const [a, b] = pair(await bench.start(2));
    const before = await Promise.all([a.ask(), b.ask()]);
    await expect(b.driver.promote({ lsn: farPosition })).rejects.toThrow();
    await expect(b.driver.demote({ successor: null })).rejects.toThrow(PermanentError);
    await expect(a.driver.follow({ primary: b.endpoint })).rejects.toThrow(PermanentError);
    await expect(b.driver.follow({ primary: b.endpoint })).rejects.toThrow(PermanentError);
    await expect(a.driver.demote({ successor: 'a stranger' })).rejects.toThrow('a stranger');
    expect(await Promise.all([a.ask(), b.ask()])).toEqual(before);
    expect([(await healthOf(a)).role, (await healthOf(b)).role]).toEqual(['primary', 'replica']);
    await b.driver.stop();
    // A standby of an operator's runs on without its agent, so the primary has a successor.
    if (bench.suite.serversBelongTo === 'operator') return;
    await expect(a.driver.demote({ successor: null })).rejects.toThrow();
    expect(await a.ask()).toEqual(before[0]);
  });
}

function describeCutOffSwitchover(bench: Bench<Driver & Roles>): void {
  const [from] = bench.suite.versions;
  const orders = ['demote', 'promote', 'follow'] as const;

  it.each(orders)(
    'ends a %s that was cut off at any point, when it is said again',
    async (cut) => {
      let [primary, replica] = pair(await bench.start(2));
      /** Carries out an order; the one in question only up to its n-th effect, and then again. */
      const carryOut = async <T>(
        name: (typeof orders)[number],
        subject: Subject<Driver & Roles>,
        order: (driver: Driver & Roles) => Promise<T>,
        effects: number,
      ): Promise<[Subject<Driver & Roles>, T, boolean]> => {
        let isCut = false;
        let next = subject;
        if (name === cut) {
          isCut = await cutOff(() => order(subject.driver), effects);
          if (isCut) next = await bench.replace(subject);
        }
        return [next, await order(next.driver), isCut];
      };
      for (let effects = 0, isCut = true; isCut; effects++) {
        await primary.data?.write(`${effects}`);
        const { name, endpoint } = replica;
        const demoted = await carryOut(
          'demote',
          primary,
          (driver) => driver.demote({ successor: name }),
          effects,
        );
        const promoted = await carryOut('promote', replica, (driver) => driver.promote(demoted[1]), effects);
        const follow = (driver: Roles) => driver.follow({ primary: endpoint });
        const followed = await carryOut('follow', demoted[0], follow, effects);
        [primary, replica] = [promoted[0], followed[0]];
        isCut = [demoted, promoted, followed].some((each) => each[2]);
        await serves(primary, from);
        await serves(replica, from);
        expect([(await healthOf(primary)).role, (await healthOf(replica)).role]).toEqual([
          'primary',
          'replica',
        ]);
        await keeps(primary, `${effects}`);
        expect(isCut || effects > 0, 'an order without an effect').toBe(true);
      }
    },
    MANY_ORDERS_MS,
  );
}

/** The server runs the version, survives what ends its agent, and the driver says so. */
async function serves(subject: Subject, version: string): Promise<void> {
  const answer = await subject.ask();
  expect(answer?.version).toBe(version);
  if (answer && subject.data) {
    expect(await groupOf(answer.process), 'of the processes that end with the agent').not.toBe(
      await groupOf(process.pid),
    );
  }
  const role = answer?.role ?? 'member';
  expect(await asked(subject)).toMatchObject({ service_status: 'healthy', version, role });
}

/** A report after the server was asked: a driver may say `unknown` while the server has not answered yet. */
function asked(subject: Subject): Promise<Health> {
  return until(`${subject.name} was asked how it is`, async () => {
    const health = await healthOf(subject);
    return health.service_status !== 'unknown' && health;
  });
}

/** None of the processes is left: those that were ended may take a moment. */
async function noneRuns(processes: readonly ChildProcess[]): Promise<void> {
  await until('what the order has started was ended', async () => !processes.some(isRunning));
}

function isRunning({ pid, exitCode, signalCode }: ChildProcess): boolean {
  return pid !== undefined && exitCode === null && signalCode === null;
}

/** A report that a taskmanager takes. */
async function healthOf({ driver }: Subject): Promise<Health> {
  const health = await driver.health();
  const args = heartbeatArgs(randomUUID(), { ...health, sent: Date.now(), agent: 'coffer/0.1' });
  HeartbeatArgs.parse(JSON.parse(JSON.stringify(args)));
  if (health.service_status === 'healthy') expect(health.version).toBeTruthy();
  return health;
}

async function keeps({ data }: Subject, value: string): Promise<void> {
  if (data) expect(await data.read()).toBe(value);
}

function target(datastore_version: string): Target {
  return { datastore_version, primary: null, info: {} };
}

function at<T>(list: readonly T[], index: number): T {
  const item = list[index];
  if (item === undefined) throw new Error(`no item ${index}`);
  return item;
}

function pair<T>(list: readonly T[]): [T, T] {
  return [at(list, 0), at(list, 1)];
}
