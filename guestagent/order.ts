/** An order as the agent finds it in a message, and the method of the driver that carries it out. */
import type { Request } from '../src/bus/bus.ts';
import type {
  AttemptId,
  CallAction,
  Endpoint,
  GuestAction,
  GuestReport,
  UpgradeInfo,
} from '../src/core/domain.ts';
import { type Driver, PermanentError, type Target } from './driver.ts';

/** The fields that a message may have, whichever its action is. */
export type Info = Readonly<Record<string, unknown>> & {
  readonly datastore_version?: string;
  readonly primary?: Endpoint | null;
  readonly handover?: Readonly<Record<string, unknown>>;
};

type Result = NonNullable<NonNullable<GuestReport['attempt']>['result']>;

/**
 * A message of a plain Trove taskmanager names no attempt: each message is its own attempt, and a redelivery
 * is the same one.
 */
export function attemptIdOf(info: Info, action: GuestAction, request: Request): AttemptId {
  const { upgrade_id, step, attempt } = info;
  if (typeof upgrade_id === 'string' && typeof step === 'number' && typeof attempt === 'number') {
    return { upgrade_id, step, attempt, action };
  }
  return { upgrade_id: request.unique_id, step: 0, attempt: 1, action };
}

export function keyOf({ upgrade_id, step, attempt, action }: AttemptId): string {
  return `${upgrade_id}/${step}/${attempt}/${action}`;
}

/** Carries out an order whose answer is its result. */
export async function answer(driver: Driver, action: CallAction, info: Info): Promise<UpgradeInfo | null> {
  if (action === 'pre_upgrade') return await driver.preUpgrade(targetOf(info));
  await driver.postUpgrade(targetOf(info));
  return null;
}

/** Carries out an order whose result is reported in heartbeats. */
export async function execute(driver: Driver, action: GuestAction, info: Info): Promise<Result | null> {
  switch (action) {
    case 'upgrade':
      await driver.upgrade(targetOf(info));
      return null;
    case 'demote': {
      const successor = typeof info['successor'] === 'string' ? info['successor'] : null;
      return await (driver.demote?.({ successor }) ?? allAlike());
    }
    case 'promote': {
      const order = { lsn: String(info['lsn']), ...(info.handover && { handover: info.handover }) };
      await (driver.promote?.(order) ?? allAlike());
      return null;
    }
    case 'follow':
      if (!info.primary) throw new PermanentError('told to follow nobody');
      await (driver.follow?.({ primary: info.primary }) ?? allAlike());
      return null;
    case 'fence':
    case 'pre_upgrade':
    case 'post_upgrade':
      return null;
    default:
      return action satisfies never;
  }
}

function targetOf(info: Info): Target {
  return { datastore_version: info.datastore_version ?? '', primary: info.primary ?? null, info };
}

function allAlike(): never {
  throw new PermanentError('the instances of this datastore are all alike: none is the primary');
}
