/** When traces are on, and how spans are named. What is told of: stack-observed, with real processes. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import { Services } from '../../src/service.ts';
import {
  isTraced,
  NO_TRACING,
  openTracing,
  partsOf,
  spanWithin,
  traceParentOf,
  tracingConfig,
} from '../../src/tracing.ts';
import { silentLog } from '../support/services.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const NAME = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

describe('traces', () => {
  it.each<[string, Record<string, string>, boolean]>([
    ['nothing is said', {}, false],
    ['there is an endpoint', { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' }, true],
    [
      'there is one for traces',
      { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://collector:4318/v1/traces' },
      true,
    ],
    ['there is an exporter', { OTEL_TRACES_EXPORTER: 'otlp' }, true],
    [
      'the endpoint is for others',
      { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c', OTEL_TRACES_EXPORTER: 'none' },
      false,
    ],
    ['OpenTelemetry is off', { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c', OTEL_SDK_DISABLED: 'true' }, false],
    ['it is not off', { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c', OTEL_SDK_DISABLED: 'false' }, true],
    ['only a name is given', { OTEL_SERVICE_NAME: 'x' }, false],
  ])('when %s: see whether they are on', async (_what, env, isOn) => {
    const config = loadConfig(tracingConfig, env);
    expect(isTraced(config)).toBe(isOn);
    if (isOn) return;
    const services = new Services(silentLog);
    expect(await openTracing(config, { service: 'test', log: silentLog, services })).toBe(NO_TRACING);
  });

  it.each([
    [{ OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }, /PROTOCOL: is not supported: .* give http\/json/],
    [{ OTEL_TRACES_EXPORTER: 'zipkin' }, /OTEL_TRACES_EXPORTER: must be otlp or none/],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4318' }, /ENDPOINT: must be a URL that begins with http:\/\//],
  ])('are refused where %o is asked for, with what to do', (env, message) => {
    expect(() => loadConfig(tracingConfig, env)).toThrow(message);
  });

  it('cost nothing where they are off: the libraries are loaded by one file, and that only when it is needed', () => {
    const files = ['src', 'api', 'taskmanager', 'guestagent', 'client', 'cli'].flatMap((folder) =>
      readdirSync(join(ROOT, folder), { recursive: true })
        .map((name) => join(folder, String(name)))
        .filter((name) => name.endsWith('.ts')),
    );
    const having = (pattern: RegExp) =>
      files.filter((file) => pattern.test(readFileSync(join(ROOT, file), 'utf8')));
    expect(having(/@opentelemetry/)).toEqual(['src/otel.ts']);
    expect(having(/otel\.ts'/)).toEqual(['src/tracing.ts']);
    expect(having(/(?<!await )import\b[^\n]*otel\.ts'/)).toEqual([]);
  });

  it('do the work all the same where they are off', async () => {
    const work = NO_TRACING.span('x', { isRoot: true }, async (span) => [span, NO_TRACING.current()]);
    expect(await work).toEqual([null, undefined]);
  });
});

describe('the name of a span', () => {
  it('is taken from a header only if it is one', () => {
    expect(traceParentOf(NAME)).toBe(NAME);
    const wrong = [undefined, 7, '', `${NAME}x`, NAME.toUpperCase(), NAME.replace('00-', 'ff-'), ['x']];
    expect(wrong.map(traceParentOf)).toEqual(wrong.map(() => null));
    expect(traceParentOf(`00-${'0'.repeat(32)}-b7ad6b7169203331-01`)).toBeNull();
    expect(traceParentOf(`00-0af7651916cd43dd8448eb211c80319c-${'0'.repeat(16)}-01`)).toBeNull();
  });

  it('has parts', () => {
    const parts = { trace: '0af7651916cd43dd8448eb211c80319c', span: 'b7ad6b7169203331', flags: 1 };
    expect(partsOf(NAME)).toEqual(parts);
    expect(() => partsOf('x')).toThrow('not the name of a span');
  });

  it('follows from what it is about, in the same trace and sampled as that is', () => {
    const upgrade = spanWithin(NAME, 'u1');
    expect(traceParentOf(upgrade)).toBe(upgrade);
    expect(partsOf(upgrade)).toMatchObject({ trace: partsOf(NAME).trace, flags: 1 });
    expect(spanWithin(NAME, 'u1')).toBe(upgrade);
    expect(new Set([upgrade, NAME, spanWithin(NAME, 'u1', 0), spanWithin(NAME, 'u1', 1)]).size).toBe(4);
    expect(spanWithin(NAME.replace(/01$/, '00'), 'u1')).toMatch(/-00$/);
  });
});
