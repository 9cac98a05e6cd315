/**
 * The guarantees of the design, checked from outside: against what the servers truly do, and against what the
 * store holds before and after each commit. Nothing here uses the product's own judgement.
 *
 * Files: `records.ts` what is written to the store · `guests.ts` what guests execute, and the true state of
 * the servers · `events.ts` what a reader of events sees · `requests.ts` what was promised to whom ·
 * `policy.ts` the policy of an upgrade, and the actions that people request.
 */
import type { StoreWatch } from '../network.ts';
import type { World } from '../world.ts';
import { EventChecks } from './events.ts';
import { GuestChecks } from './guests.ts';
import { PolicyChecks } from './policy.ts';
import { RecordChecks } from './records.ts';
import { RequestChecks } from './requests.ts';

/** `policy` is section 4 of the design. */
type Guarantee = 'G1' | 'G2' | 'G3' | 'G4' | 'G5' | 'G6' | 'G7' | 'G8' | 'G9' | 'G10' | 'policy';

export class Checks {
  readonly violations: string[] = [];
  readonly records: RecordChecks;
  readonly guests: GuestChecks;
  readonly events: EventChecks;
  readonly requests: RequestChecks;
  readonly policy: PolicyChecks;
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
    this.records = new RecordChecks(world, this);
    this.guests = new GuestChecks(world, this);
    this.events = new EventChecks(world, this);
    this.requests = new RequestChecks(world, this);
    this.policy = new PolicyChecks(world, this);
  }

  get store(): StoreWatch {
    return this.records;
  }

  must(holds: boolean, guarantee: Guarantee, text: string): void {
    if (holds) return;
    const violation = `${guarantee}: ${text}`;
    this.#world.tell(`!!! ${violation}`);
    this.violations.push(violation);
  }

  afterStep(): void {
    this.guests.afterStep();
  }

  /** Called when the simulation has come to rest. */
  atTheEnd(): void {
    this.requests.atTheEnd();
    this.records.atTheEnd();
    this.events.atTheEnd();
  }
}
