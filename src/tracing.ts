/**
 * Traces: one from a request through all processes that have to do with it. Off unless the standard
 * variables of OpenTelemetry say where spans go; then `otel.ts` is loaded, and with it the libraries.
 *
 * A span is begun where there is a trace to be part of: what happens by itself (heartbeats, sweeps) begins none.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { urlOf } from './config.ts';
import type { Logger } from './log.ts';
import type { Services } from './service.ts';

/** Names a span as W3C's header does: `00-<trace id>-<span id>-<flags>`. */
export type TraceParent = string;

export type Attributes = Readonly<Record<string, string | number | boolean>>;

export interface SpanOptions {
  /** Towards whom; within this process if not said. */
  readonly kind?: 'server' | 'client' | 'producer' | 'consumer';
  /** What it is part of; if not said, the span at work. Null: of none that is known here. */
  readonly parent?: TraceParent | null | undefined;
  /** Begins a trace where there is none to be part of. */
  readonly isRoot?: boolean;
  /** Of another trace that this one came from. */
  readonly link?: TraceParent | undefined;
  readonly attributes?: Attributes;
}

export interface Span {
  readonly name: TraceParent;
  set(attributes: Attributes): void;
  /** It does not do what it is for, though no promise is rejected. */
  fail(reason: string): void;
}

/** A span that is over, told of by whoever saw its end. */
export interface PastSpan {
  /** As `spanWithin` has named it. */
  readonly name: TraceParent;
  readonly parent: TraceParent;
  readonly started: number;
  readonly ended: number;
  readonly attributes: Attributes;
  /** Why it did not succeed; null if it did. */
  readonly error: string | null;
}

export interface Tracing {
  readonly isOn: boolean;
  /** The span at work; undefined where nothing is traced. */
  current(): TraceParent | undefined;
  /** Does work in a span, which is null where nothing is traced. A rejection is told with it. */
  span<T>(title: string, options: SpanOptions, work: (span: Span | null) => Promise<T>): Promise<T>;
  tell(title: string, span: PastSpan): void;
}

export const NO_TRACING: Tracing = {
  isOn: false,
  current: () => undefined,
  span: (_title, _options, work) => work(null),
  tell: () => undefined,
};

const endpoint = urlOf('http', 'https').optional();
const protocol = z
  .enum(['http/json', 'http/protobuf'], 'is not supported: spans go over HTTP, as JSON; give http/json')
  .optional();

/** Of OpenTelemetry's variables those that decide whether and where; the libraries read all others themselves. */
export const tracingConfig = {
  OTEL_SDK_DISABLED: z.string().optional(),
  OTEL_TRACES_EXPORTER: z.enum(['otlp', 'none'], 'must be otlp or none').optional(),
  OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: endpoint,
  OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
  OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: protocol,
};
export type TracingConfig = z.infer<z.ZodObject<typeof tracingConfig>>;

/** On with an endpoint or an exporter, unless it is switched off. */
export function isTraced(config: TracingConfig): boolean {
  if (config.OTEL_SDK_DISABLED?.toLowerCase() === 'true' || config.OTEL_TRACES_EXPORTER === 'none')
    return false;
  const { OTEL_EXPORTER_OTLP_ENDPOINT: all, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: traces } = config;
  return [config.OTEL_TRACES_EXPORTER, all, traces].some((given) => given !== undefined);
}

/** `service` is the name of who tells, where `OTEL_SERVICE_NAME` says nothing else. */
export async function openTracing(
  config: TracingConfig,
  {
    service,
    log,
    services,
  }: { readonly service: string; readonly log: Logger; readonly services: Pick<Services, 'add'> },
): Promise<Tracing> {
  if (!isTraced(config)) return NO_TRACING;
  const { openOtel } = await import('./otel.ts');
  const { tracing, stop } = openOtel({ service, log });
  services.add({ name: 'tracing', stop });
  log.info({ service }, 'traces are told of over OTLP');
  return tracing;
}

const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/** From a header of a request or a message, which anybody may have written; null if it names no span. */
export function traceParentOf(header: unknown): TraceParent | null {
  if (typeof header !== 'string') return null;
  const [, trace, span] = TRACEPARENT.exec(header) ?? [];
  return trace === undefined || /^0+$/.test(trace) || /^0+$/.test(span ?? '') ? null : header;
}

/** The parts of a name; throws for what is none. */
export function partsOf(name: TraceParent): {
  readonly trace: string;
  readonly span: string;
  readonly flags: number;
} {
  const [, trace, span, flags] = TRACEPARENT.exec(name) ?? [];
  if (!trace || !span || !flags) throw new Error(`${name} is not the name of a span`);
  return { trace, span, flags: Number.parseInt(flags, 16) };
}

/**
 * The name of a span that lasts longer than any process: it follows from what it is about, so that whoever acts
 * within it and whoever tells of its end name it the same without having met.
 */
export function spanWithin(trace: TraceParent, ...about: readonly (string | number)[]): TraceParent {
  const id = createHash('sha256').update(about.join('/')).digest('hex').slice(0, 16);
  return `${trace.slice(0, 36)}${id}${trace.slice(52)}`;
}
