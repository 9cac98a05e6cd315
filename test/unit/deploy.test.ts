/** What is in `deploy/` must go by names that the processes really tell. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { App } from '../../api/deps.ts';
import { observeRequests } from '../../api/metrics.ts';
import { observeOrders } from '../../guestagent/metrics.ts';
import { UPGRADE_EVENT_TYPES } from '../../src/core/record.ts';
import { createRegistry } from '../../src/telemetry.ts';
import { observeShared, observeUpgrades } from '../../taskmanager/metrics.ts';

const DEPLOY = resolve(import.meta.dirname, '../../deploy');
const read = (name: string) => readFileSync(join(DEPLOY, name), 'utf8');

/** The names of all series that any process of ours tells. */
async function seriesNames(): Promise<ReadonlySet<string>> {
  const registry = createRegistry();
  observeUpgrades(registry);
  observeShared(registry, {} as Parameters<typeof observeShared>[1]);
  observeRequests({ addHook: () => undefined } as unknown as App, registry);
  observeOrders(registry);
  const metrics = await registry.getMetricsAsJSON();
  const names = metrics.flatMap(({ name, type }) =>
    String(type) === 'histogram' ? [`${name}_bucket`, `${name}_count`, `${name}_sum`] : [name],
  );
  return new Set(names);
}

function expressionsOf(text: string): readonly string[] {
  return [...text.matchAll(/"?expr"?: (.*)$/gm)].map((match) => match[1] ?? '');
}

describe.each(['alerts.yaml', 'grafana-dashboard.json'])('deploy/%s', (file) => {
  it('asks only for series that are told, and for events that exist', async () => {
    const known = await seriesNames();
    const expressions = expressionsOf(read(file));
    expect(expressions.length).toBeGreaterThan(5);
    const asked = expressions.flatMap((text) => text.match(/\b(coffer|process|nodejs)_\w+/g) ?? []);
    expect(asked.filter((name) => !known.has(name))).toEqual([]);
    const types = expressions.flatMap((text) =>
      [...text.matchAll(/type=~?\\?"([\w|]+)/g)].flatMap((match) => match[1]?.split('|') ?? []),
    );
    expect(types.filter((type) => !UPGRADE_EVENT_TYPES.includes(type as never))).toEqual([]);
  });

  it('can be read by the program that it is for', () => {
    const document = file.endsWith('.json')
      ? (JSON.parse(read(file)) as unknown)
      : (parse(read(file)) as unknown);
    expect(document).toBeTypeOf('object');
  });
});

it('every alert says what has happened and what to do', () => {
  const { groups } = parse(read('alerts.yaml')) as {
    groups: { rules: { alert: string; annotations: { summary: string; description: string } }[] }[];
  };
  for (const { alert, annotations } of groups.flatMap(({ rules }) => rules)) {
    expect(annotations.summary, alert).toMatch(/\.$/);
    expect(annotations.description, alert).toMatch(/\w/);
  }
});

it('a registry of each process is its own', () => {
  expect(createRegistry()).toBeInstanceOf(Registry);
  expect(createRegistry()).not.toBe(createRegistry());
});
