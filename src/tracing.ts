/**
 * Traces: a trace covers a request in all processes that handle it. Traces are off unless the standard
 * variables of OpenTelemetry say where spans go; then `otel.ts` is loaded, together with the libraries.
 *
 * A span begins only where there is a trace that it can be part of: work that starts by itself (heartbeats,
 * sweeps) begins no span.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { urlOf } from './config.ts';
import type { Logger } from './log.ts';
import type { Services } from './service.ts';

/** The name of a span in the form of W3C's header: `00-<trace id>-<span id>-<flags>`. */
export type TraceParent = string;

export type Attributes = Readonly<Record<string, string | number | boolean>>;

export interface SpanOptions {
  /** The direction of the call; by default the span is internal to this process. */
  readonly kind?: 'server' | 'client' | 'producer' | 'consumer';
  /** The span that this one is part of; by default the active span. Null: no span known here. */
  readonly parent?: TraceParent | null | undefined;
  /** Begins a trace if there is none to be part of. */
  readonly isRoot?: boolean;
  /** A span of another trace that led to this one. */
  readonly link?: TraceParent | undefined;
  readonly attributes?: Attributes;
}

export interface Span {
  readonly name: TraceParent;
  set(attributes: Attributes): void;
  /** Marks the span as failed, although no promise was rejected. */
  fail(reason: string): void;
}

/** A span that is over, reported by the process that saw its end. */
interface PastSpan {
  /** The name that `spanWithin` returned. */
  readonly name: TraceParent;
  readonly parent: TraceParent;
  readonly started: number;
  readonly ended: number;
  readonly attributes: Attributes;
  /** Why the work did not succeed; null if it did. */
  readonly error: string | null;
}

export interface Tracing {
  readonly isOn: boolean;
  /** The active span; undefined where nothing is traced. */
  current(): TraceParent | undefined;
  /** Does work in a span; the span is null where nothing is traced. A rejection is recorded in the span. */
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

/**
 * The variables of OpenTelemetry that decide whether spans are sent, and where to. The libraries read all
 * other variables themselves.
 */
export const tracingConfig = {
  OTEL_SDK_DISABLED: z.string().optional(),
  OTEL_TRACES_EXPORTER: z.enum(['otlp', 'none'], 'must be otlp or none').optional(),
  OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: endpoint,
  OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
  OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: protocol,
};
type TracingConfig = z.infer<z.ZodObject<typeof tracingConfig>>;

/** On if an endpoint or an exporter is given, unless tracing is switched off. */
export function isTraced(config: TracingConfig): boolean {
  if (config.OTEL_SDK_DISABLED?.toLowerCase() === 'true' || config.OTEL_TRACES_EXPORTER === 'none')
    return false;
  const { OTEL_EXPORTER_OTLP_ENDPOINT: all, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: traces } = config;
  return [config.OTEL_TRACES_EXPORTER, all, traces].some((given) => given !== undefined);
}

/** `service` is the service name in the spans, unless `OTEL_SERVICE_NAME` gives another. */
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

/** Reads the header of a request or a message, which anybody may have written; null if it names no span. */
export function traceParentOf(header: unknown): TraceParent | null {
  if (typeof header !== 'string') return null;
  const [, trace, span] = TRACEPARENT.exec(header) ?? [];
  return trace === undefined || /^0+$/.test(trace) || /^0+$/.test(span ?? '') ? null : header;
}

/** The parts of a span's name; throws if it is not one. */
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
 * The name of a span that lasts longer than any process. It follows from what the span is about, so that the
 * processes that work within the span, and the process that reports its end, use the same name without
 * talking to each other.
 */
export function spanWithin(trace: TraceParent, ...about: readonly (string | number)[]): TraceParent {
  const id = createHash('sha256').update(about.join('/')).digest('hex').slice(0, 16);
  return `${trace.slice(0, 36)}${id}${trace.slice(52)}`;
}
