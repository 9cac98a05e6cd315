import type { Upgrade } from '../../src/core/record.ts';
import { stockApis } from './api.ts';
import {
  activeUpgrade,
  begin,
  help,
  lieInWait,
  loseBegin,
  orderPlainly,
  promoteByHand,
  strike,
} from './human.ts';
import { CALM, type Scenario, SOUND, scenarioOf } from './scenario.ts';
import { T0 } from './scheduler.ts';
import { World } from './world.ts';

const START_MS = 3_000;
/** The plain orders are sent before any other message to the guests. */
const PLAIN_MS = 500;
const HELP_MS = 3_000;
/** Within this virtual time after the faults have stopped, every upgrade must have ended. */
const ENDS_WITHIN_MS = 900_000;
/** A running upgrade without an event for this long, which is much longer than a step takes, is stuck silently. */
const SILENT_MS = 60_000;
const LEAST_USUAL_MS = 30_000;
const REST_MS = 12_000;
/** One of Trove's guests may be silent about its order for this long, and the order is not sent again. */
const TROVE_WAIT_MS = 600_000;

export interface Outcome {
  readonly seed: number;
  readonly violations: readonly string[];
  readonly history: readonly string[];
  readonly hash: string;
  readonly steps: number;
  readonly virtual_ms: number;
  readonly states: readonly string[];
}

/** One seed, one schedule: first faults and checks, then no more faults, and every upgrade must end. */
export async function simulate(seed: number, scenario: Scenario = scenarioOf(seed)): Promise<Outcome> {
  await stockApis(
    1 + scenario.troubles.filter(({ trouble }) => trouble.kind === 'kill' && trouble.who === 'api').length,
  );
  const world = new World(scenario);
  const { scheduler, checks, history } = world;
  world.tell(`seed ${seed}: ${scenario.instances} x ${scenario.manager}, ${JSON.stringify(scenario.policy)}`);
  world.start();
  const at = (ms: number, run: () => void) => scheduler.after(ms, run);
  if (scenario.plain_copies > 0) at(PLAIN_MS, () => orderPlainly(world, scenario.plain_copies));
  at(START_MS, () => begin(world));
  for (const { at_ms, trouble } of scenario.troubles) at(START_MS + at_ms, () => strike(world, trouble));
  const healed = START_MS + scenario.heal_ms;
  at(healed, () => heal(world));
  // Of each instance with a Trove guest it may take a whole step's time until a person is asked about it, and then
  // another window until the next one: on the way there, and on the way back.
  const { step_timeout_seconds, window } = scenario.policy;
  const each_ms = step_timeout_seconds * 1000 + (window === null ? 0 : ENDS_WITHIN_MS);
  const asked_ms = world.isTrove ? 2 * scenario.instances * each_ms : 0;
  const deadline = T0 + healed + ENDS_WITHIN_MS + asked_ms;
  const liveness = { seq: '', since: scheduler.now };
  const hasFailed = () => checks.violations.length > 0;
  const ambush = lieInWait(world);
  const failover = loseBegin(world);
  const stranger = promoteByHand(world);
  const check = () => {
    checks.afterStep();
    ambush();
    failover();
    stranger();
  };
  const isOver = () =>
    hasFailed() || scheduler.now >= deadline || (scheduler.now > T0 + healed && isAtRest());
  const isAtRest = () => {
    const upgrade = activeUpgrade(world);
    const seq = upgrade ? `${upgrade.id}/${upgrade.seq}` : '';
    if (seq !== liveness.seq) Object.assign(liveness, { seq, since: scheduler.now });
    checks.must(
      !isSilent(upgrade, scheduler.now - liveness.since - (world.isTrove ? TROVE_WAIT_MS : 0)),
      'G1',
      'running, and nothing is told of it',
    );
    checks.policy.goesOn(upgrade, scheduler.now);
    return upgrade === undefined && world.store.data.casts.size === 0 && world.asking === 0;
  };
  const run = async (isOver: () => boolean) =>
    checks.must(await scheduler.run(isOver, check), 'G1', 'what is done has no end');
  await run(isOver);
  if (!hasFailed()) {
    const rest = scheduler.now + REST_MS;
    await run(
      () =>
        hasFailed() ||
        scheduler.now > deadline ||
        (scheduler.now >= rest && isAtRest() && checks.events.isReadUp() && checks.records.isTrue()),
    );
    if (!hasFailed()) checks.atTheEnd();
  }
  world.end();
  return {
    ...{ seed, violations: checks.violations, history: history.lines, hash: history.hash },
    ...{ steps: scheduler.steps, virtual_ms: scheduler.now - T0 },
    states: [...world.store.data.upgrades.values()].map(({ state }) => state.name),
  };
}

/** A silence is reported once; a back-off and a soak are known to last. */
function isSilent(upgrade: Upgrade | undefined, ms: number): boolean {
  if (upgrade?.state.name !== 'running' || upgrade.steps.some(({ phase }) => 'until' in phase)) return false;
  const { instance, switchover } = upgrade.expected;
  const usual_ms = Math.max(LEAST_USUAL_MS, instance.p95_ms, switchover.p95_ms);
  return ms > SILENT_MS + (upgrade.silent ? ENDS_WITHIN_MS / 4 : usual_ms);
}

/** The faults stop. A person mends what no upgrade can mend, and does what upgrades ask for. */
function heal(world: World): void {
  const { network, servers, scheduler } = world;
  world.tell('the faults stop');
  for (const process of world.processes.values()) process.spare();
  network.weather = CALM;
  network.storeAwayUntil = 0;
  world.guests = SOUND;
  servers.mendPrimaries();
  for (const server of servers.all) {
    server.isBroken = false;
    server.sickUntil = 0;
    server.unlinkedUntil = 0;
    server.replayRate = Number.POSITIVE_INFINITY;
  }
  for (const disk of world.disks) disk.refuse(0);
  const goOn = () => {
    help(world);
    scheduler.after(HELP_MS, goOn);
  };
  goOn();
}
