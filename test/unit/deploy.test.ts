/**
 * What other programs read must go by names that are really there: `deploy/`, docker-compose.yml, the
 * Dockerfile, and the units and manifests in docs/operate.md. No engine and no cluster runs here: files and
 * services have to exist, and the processes have to take the variables; systemd looks at its units itself.
 */

import { execFileSync, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import type { App } from '../../api/deps.ts';
import { observeRequests } from '../../api/http/metrics.ts';
import { observeOrders } from '../../guestagent/metrics.ts';
import { UPGRADE_EVENT_TYPES } from '../../src/core/record.ts';
import { createRegistry } from '../../src/telemetry.ts';
import { observeShared, observeUpgrades } from '../../taskmanager/metrics.ts';
import { type Block, blocksOf, ROOT, which } from '../support/docs.ts';

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

/** What a start of this process says is wrong with its environment: one thing is always, so that it ends at once. */
function configProblems(program: string, env: Readonly<Record<string, string>>): readonly string[] {
  const { status, stderr } = spawnSync(process.execPath, [join(ROOT, program)], {
    env: { ...env, COFFER_LOG_LEVEL: 'no such level' },
    encoding: 'utf8',
  });
  expect(status, stderr).toBe(2);
  const problems = stderr.split('\n').filter((line) => /^ +[A-Z]/.test(line));
  expect(problems.filter((line) => line.includes('COFFER_LOG_LEVEL'))).toHaveLength(1);
  return problems.filter((line) => !line.includes('COFFER_LOG_LEVEL'));
}

/** Every variable of ours that some source reads. */
const READ = new Set(
  execFileSync('grep', ['-rhoE', 'COFFER_[A-Z_]+', 'src', 'api', 'taskmanager', 'guestagent'], {
    cwd: ROOT,
    encoding: 'utf8',
  }).split('\n'),
);
const unread = (names: readonly string[]) => names.filter((name) => /^COFFER_/.test(name) && !READ.has(name));

interface ComposeService {
  readonly build?: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly depends_on?: Readonly<Record<string, object>>;
  readonly volumes?: readonly string[];
  readonly stop_grace_period?: string;
}

describe('docker-compose.yml', () => {
  const text = readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8');
  const { services, volumes } = parse(text, { merge: true }) as {
    services: Record<string, ComposeService>;
    volumes: object;
  };
  /** As compose does where nothing is set. */
  const withDefaults = (value: string) => value.replaceAll(/\$\{\w+:-([^}]*)\}/g, '$1');

  it('leads to services, volumes and programs that are there', () => {
    for (const [name, { depends_on = {}, volumes: mounted = [], command = [], build }] of Object.entries(
      services,
    )) {
      expect(
        Object.keys(depends_on).filter((other) => !(other in services)),
        name,
      ).toEqual([]);
      expect(
        mounted.filter((volume) => !(String(volume.split(':')[0]) in volumes)),
        name,
      ).toEqual([]);
      const [program = ''] = command;
      if (program.startsWith('dist/'))
        expect(existsSync(join(ROOT, program.replace(/^dist\/(.*)\.js$/, '$1.ts'))), program).toBe(true);
      if (build !== undefined) expect(existsSync(join(ROOT, build, 'Dockerfile'))).toBe(true);
    }
  });

  it.each(['api', 'taskmanager', 'guestagent'])('gives the %s an environment that it takes', (name) => {
    const { environment = {}, command = [], stop_grace_period } = services[name] ?? {};
    const env = Object.fromEntries(
      Object.entries(environment).map(([key, value]) => [key, withDefaults(value)]),
    );
    expect(unread(Object.keys(env))).toEqual([]);
    expect(configProblems(String(command[0]), env)).toEqual([]);
    const hosts = Object.entries(env).filter(([key]) => key.endsWith('_URL'));
    expect(hosts.map(([, url]) => new URL(url).hostname in services)).not.toContain(false);
    expect(stop_grace_period).toBe('30s');
  });

  it('builds from a Dockerfile whose files and scripts are there', () => {
    const dockerfile = readFileSync(join(ROOT, 'Dockerfile'), 'utf8');
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: object };
    const copied = [...dockerfile.matchAll(/^COPY (?!--)(.+) \S+$/gm)].flatMap(([, names = '']) =>
      names.split(' '),
    );
    expect(copied).toContain('package-lock.json');
    expect(copied.filter((name) => !existsSync(join(ROOT, name)))).toEqual([]);
    const run = [...dockerfile.matchAll(/npm run ([\w-]+)/g)].map(([, name = '']) => name);
    expect(run.filter((name) => !(name in scripts))).toEqual([]);
  });
});

describe('docs/operate.md', () => {
  const blocks = blocksOf('docs/operate.md');
  const titleOf = ({ text }: Block) => /^# (\S+)/.exec(text)?.[1] ?? '';
  const named = (end: string) => blocks.find((block) => titleOf(block).endsWith(end));
  const envOf = (file: string) =>
    Object.fromEntries(
      [...(named(file)?.text ?? '').matchAll(/^(\w+)=(.*)$/gm)].map(([, key = '', value = '']) => [
        key,
        value,
      ]),
    );
  const KEYSTONE = {
    ...{
      COFFER_KEYSTONE_URL: 'https://keystone',
      COFFER_KEYSTONE_USER: 'coffer',
      COFFER_KEYSTONE_PASSWORD: 'x',
    },
  };

  it.each([
    ['coffer.env', 'api', { COFFER_AUTH: 'keystone', ...KEYSTONE }],
    ['coffer.env', 'taskmanager', {}],
    // Each cluster's token is another; the page has words in its place.
    ['guest.env', 'guestagent', { COFFER_JOIN_TOKEN: `${randomUUID()}.${'x'.repeat(43)}` }],
  ])('has an environment file %s that the %s takes', (file, process, more) => {
    const env = envOf(file);
    expect(unread(Object.keys(env))).toEqual([]);
    expect(Object.keys(env).length).toBeGreaterThan(3);
    expect(configProblems(`dist/${process}/main.js`, { ...env, ...more })).toEqual([]);
  });

  const analyze = which('systemd-analyze');
  const units = blocks.filter((block) => titleOf(block).endsWith('.service'));
  it('has units whose programs and environment files are those of the page', () => {
    expect(units).toHaveLength(2);
    for (const { text } of units) {
      const program = /^ExecStart=.* \/opt\/coffer\/dist\/(\S+)\.js$/m.exec(text)?.[1];
      expect(existsSync(join(ROOT, `${program}.ts`))).toBe(true);
      expect(blocks.map(titleOf)).toContain(/^EnvironmentFile=(.*)$/m.exec(text)?.[1]);
    }
  });
  it.skipIf(!analyze)(
    `has units that systemd takes${analyze ? '' : ' (skipped: no systemd-analyze)'}`,
    () => {
      const folder = mkdtempSync(join(tmpdir(), 'coffer-units-'));
      // A unit takes a path with blanks for a command with arguments.
      const node = join(folder, 'node');
      symlinkSync(process.execPath, node);
      const complaints = units.map((unit) => {
        const name = titleOf(unit).split('/').at(-1) ?? '';
        writeFileSync(join(folder, name), unit.text.replace('/usr/bin/node', node));
        const args = ['verify', '--man=no', join(folder, name.replace('@.', '@1.'))];
        writeFileSync(join(folder, name.replace('@.', '@1.')), unit.text.replace('/usr/bin/node', node));
        const { stdout, stderr } = spawnSync(analyze ?? '', args, { encoding: 'utf8' });
        // It also speaks of whatever else this machine has.
        return `${stdout}${stderr}`.split('\n').filter((line) => line.includes('coffer'));
      });
      rmSync(folder, { recursive: true });
      expect(complaints.flat()).toEqual([]);
    },
  );

  it('has manifests that fit together, and give the processes what they take', () => {
    const manifests = parseAllDocuments(named('coffer.yaml')?.text ?? '').map(
      (one) => one.toJS() as Manifest,
    );
    expect(manifests.map(({ kind }) => kind)).toEqual(['Deployment', 'Deployment']);
    for (const { metadata, spec } of manifests) {
      const { metadata: labelled, spec: pod } = spec.template;
      expect(spec.selector.matchLabels).toEqual(labelled.labels);
      const [container] = pod.containers;
      const [secret] = container.envFrom;
      const named = new RegExp(`create secret generic ${secret.secretRef.name} --from-env-file=coffer.env`);
      expect(
        blocks.filter(({ text }) => named.test(text)),
        metadata.name,
      ).toHaveLength(1);
      const own = Object.fromEntries(container.env.map(({ name, value }) => [name, value]));
      expect(unread(Object.keys(own))).toEqual([]);
      const env = { ...envOf('coffer.env'), ...own, ...KEYSTONE };
      expect(configProblems(String(container.args[0]), env), metadata.name).toEqual([]);
    }
  });
});

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly selector: { readonly matchLabels: object };
    readonly template: {
      readonly metadata: { readonly labels: object };
      readonly spec: {
        readonly containers: readonly [
          {
            readonly args: readonly string[];
            readonly envFrom: readonly [{ readonly secretRef: { readonly name: string } }];
            readonly env: readonly { readonly name: string; readonly value: string }[];
          },
        ];
      };
    };
  };
}
