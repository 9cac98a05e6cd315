/** The demo, as a newcomer runs it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newHome, removeHome, run } from '../support/stack.ts';

describe('npm run demo', () => {
  let home: string;
  beforeAll(async () => {
    home = await newHome();
  });
  afterAll(() => removeHome(home));

  it('upgrades PostgreSQL while it serves, and loses nothing (G6)', async () => {
    const { code, stdout, stderr } = await run(['scripts/demo.mjs'], home);
    expect(code, stderr).toBe(0);
    const result = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as Record<string, unknown>;
    expect(result).toMatchObject({ from: '17.6', to: '17.10', instances: 3, lost_writes: 0, switchovers: 1 });
    expect(result['cluster_id']).toMatch(/^[0-9a-f-]{36}$/);
    expect(result['acknowledged_writes']).toBeGreaterThan(100);
    expect(result['write_outage_ms']).toBeGreaterThan(0);
    expect(result['upgrade_seconds']).toBeGreaterThan(0);
  }, 240_000);

  it('refuses an option that it does not know', async () => {
    const { code, stdout, stderr } = await run(['scripts/demo.mjs', '--nope'], home);
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/unknown option --nope/);
  });
});
