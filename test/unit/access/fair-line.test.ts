import { expect, it } from 'vitest';
import { fairLine } from '../../../api/access/fair-line.ts';

/** A line of one place, who holds it until `open`, and in which order others come through. */
async function lineOf(those: readonly (readonly [ip: string, tenant_id: string, name: string])[]) {
  const line = fairLine(1);
  const order: string[] = [];
  const { signal } = new AbortController();
  let open: () => void = () => undefined;
  const first = line({ ip: '1.1.1.1', tenant_id: '' }, signal, () => new Promise<void>((go) => (open = go)));
  const rest = those.map(([ip, tenant_id, name]) =>
    line({ ip, tenant_id }, signal, async () => void order.push(name)),
  );
  open();
  await Promise.all([first, ...rest]);
  return order.join(' ');
}

it('lets networks take turns, and the tenants of each', async () => {
  expect(
    await lineOf([
      ['10.0.0.1', '', 'a1'],
      ['10.0.0.1', '', 'a2'],
      ['10.0.0.1', '', 'a3'],
      ['10.0.0.1', 'shop', 's1'],
      ['10.0.0.1', 'shop', 's2'],
      ['10.0.0.2', '', 'b1'],
      ['10.0.0.2', '', 'b2'],
    ]),
  ).toBe('a1 b1 s1 b2 a2 s2 a3');
});

it.each([
  ['2001:db8::1', '2001:db8::2', true],
  ['2001:db8:0:0:1::1', '2001:db8::ffff:0:0:2', true],
  ['2001:db8:0:1::1', '2001:db8:0:2::1', false],
  ['2001:db8:1:1:1:1:1:1', '2001:db8:1:1::', true],
  ['::ffff:10.0.0.1', '::ffff:10.0.0.2', false],
  ['::1', '::2', true],
])('takes %s and %s for one network: %s', async (one, other, isOne) => {
  const order = await lineOf([
    [one, '', 'a1'],
    [one, '', 'a2'],
    [other, '', 'b1'],
  ]);
  expect(order).toBe(isOne ? 'a1 a2 b1' : 'a1 b1 a2');
});

it('forgets who has waited too long, and goes on', async () => {
  const line = fairLine(1);
  const who = { ip: '10.0.0.1', tenant_id: '' };
  const [patient, hasty] = [new AbortController(), new AbortController()];
  let open: () => void = () => undefined;
  const first = line(who, patient.signal, () => new Promise<void>((go) => (open = go)));
  const late = line(who, hasty.signal, async () => 'late');
  const next = line({ ...who, tenant_id: 'shop' }, patient.signal, async () => 'next');
  hasty.abort();
  await expect(late).rejects.toThrow('more than 1 questions are under way');
  open();
  await first;
  expect(await next).toBe('next');
  expect(await line(who, patient.signal, async () => 'free again')).toBe('free again');
});

it('goes on after work that fails', async () => {
  const line = fairLine(1);
  const who = { ip: '10.0.0.1', tenant_id: '' };
  const { signal } = new AbortController();
  const failing = line(who, signal, async () => Promise.reject(new Error('no')));
  const next = line(who, signal, async () => 'next');
  await expect(failing).rejects.toThrow('no');
  expect(await next).toBe('next');
});
