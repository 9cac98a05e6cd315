/**
 * Duties that one process at a time has. On Redis:
 *
 * | key | type | holds |
 * |---|---|---|
 * | `duty:<name>` | string | the process that has the duty now |
 */
import { RedisPart } from './redis-port.ts';
import { script } from './script.ts';

export interface DutyStore {
  /** True if `holder` has the duty now, and for `lease_ms` from now. Only one holder has it at a time. */
  hold(duty: string, holder: string, lease_ms: number): Promise<boolean>;
}

const HOLD = script('duties.hold', {
  keys: { duty: ['string', 'duty:<name>'] },
  args: ['holder', 'lease_ms'],
  lua: `
local held_by = redis.call('GET', DUTY)
if held_by and held_by ~= holder then return 0 end
redis.call('SET', DUTY, holder, 'PX', lease_ms)
return 1`,
});

export class RedisDuties extends RedisPart implements DutyStore {
  async hold(name: string, holder: string, lease_ms: number) {
    return (await this.port.run(HOLD, { name, holder, lease_ms })) === 1;
  }
}
