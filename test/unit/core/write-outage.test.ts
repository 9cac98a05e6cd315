/** How long a cluster takes no writes because of its upgrade: from the word to stop to the word that somebody serves. */
import { describe, expect, it } from 'vitest';
import type { World } from './world.ts';
import { worlds } from './worlds.ts';

const world = worlds();

/** From the first of the messages to the first of the events, as the upgrade itself sees them. */
function between(it: World, told: string, event: 'switched_over' | 'step_retrying'): number {
  const from = it.messages.find(({ attempt }) => attempt.action === told)?.at ?? Number.NaN;
  return (it.eventsOf(event)[0]?.at ?? Number.NaN) - from;
}

describe('the write outage of an upgrade', () => {
  it('is the time of its switchover', () => {
    const it = world();
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.upgrade.write_outage_ms).toBe(between(it, 'demote', 'switched_over'));
    expect(it.upgrade.write_outage_ms).toBeGreaterThan(0);
  });

  it('counts a switchover that was taken back, and the one that came after it', () => {
    const refusal = { promote: [{ error: 'this standby has not replayed everything' }] };
    const once = world({ instances: 2, scripts: { 'db-2': refusal } });
    once.settle();
    expect(once.upgrade.state.name).toBe('succeeded');
    const back = between(once, 'demote', 'step_retrying');
    expect(back).toBeGreaterThan(0);
    expect(once.upgrade.write_outage_ms).toBeGreaterThan(back);
  });

  it('is the restart of a primary that stands alone', () => {
    const it = world({ instances: 1 });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.upgrade.write_outage_ms).toBeGreaterThan(0);
  });

  it('is none where every instance takes writes', () => {
    const it = world({ manager: 'mariadb' });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.upgrade.write_outage_ms).toBe(0);
  });
});
