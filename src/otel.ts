/**
 * The implementation of `Tracing` with OpenTelemetry. None of its types leave this file. It is loaded only
 * where traces are on.
 */
import {
  type Context,
  context,
  DiagLogLevel,
  diag,
  type Span as OtelSpan,
  ROOT_CONTEXT,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
} from '@opentelemetry/resources';
import { BasicTracerProvider, BatchSpanProcessor, RandomIdGenerator } from '@opentelemetry/sdk-trace-base';
import { type Logger, textOf } from './log.ts';
import { sleep } from './service.ts';
import {
  type Attributes,
  partsOf,
  type Span,
  type SpanOptions,
  type TraceParent,
  type Tracing,
} from './tracing.ts';

/** How long a stopping process waits for spans to be sent. */
const STOP_MS = 2_000;

const KINDS = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
};

/** Generates random ids, except for a span that has a name already. */
function newIds() {
  const random = new RandomIdGenerator();
  const ids = {
    next: null as string | null,
    generateTraceId: () => random.generateTraceId(),
    generateSpanId: () => ids.next ?? random.generateSpanId(),
  };
  return ids;
}

export function openOtel({ service, log }: { readonly service: string; readonly log: Logger }): {
  readonly tracing: Tracing;
  readonly stop: () => Promise<void>;
} {
  const warn = (text: string) => log.warn(`OpenTelemetry: ${text}`);
  const nothing = () => undefined;
  diag.setLogger(
    { error: warn, warn, info: nothing, debug: nothing, verbose: nothing },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  const ids = newIds();
  const named = resourceFromAttributes({ 'service.name': service, 'process.pid': process.pid });
  const provider = new BasicTracerProvider({
    resource: defaultResource()
      .merge(named)
      .merge(detectResources({ detectors: [envDetector] })),
    idGenerator: ids,
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
  });
  const tracer = provider.getTracer('coffer');

  const tracing: Tracing = {
    isOn: true,
    current: () => nameOf(trace.getSpanContext(context.active())),
    span(title, options, work) {
      const within = contextOf(options);
      if (!trace.getSpanContext(within) && !options.isRoot) return context.with(within, () => work(null));
      const { kind, link, attributes = {} } = options;
      const links = link === undefined ? [] : [{ context: spanContextOf(link) }];
      const about = { kind: kind ? KINDS[kind] : SpanKind.INTERNAL, attributes, links };
      const span = tracer.startSpan(title, about, within);
      const settled = context.with(trace.setSpan(within, span), () => work(lent(span)));
      return settled
        .catch((err: unknown) => {
          fail(span, textOf(err));
          throw err;
        })
        .finally(() => span.end());
    },
    tell(title, { name, parent, started, ended, attributes, error }) {
      ids.next = partsOf(name).span;
      const span = tracer.startSpan(title, { startTime: started, attributes }, contextOf({ parent }));
      ids.next = null;
      if (error !== null) fail(span, error);
      span.end(ended);
    },
  };
  const stop = async () => {
    const ended = provider.shutdown().catch((err: unknown) => warn(textOf(err)));
    await Promise.race([ended, sleep(STOP_MS)]);
  };
  return { tracing, stop };
}

function contextOf({ parent }: Pick<SpanOptions, 'parent'>): Context {
  if (parent === undefined) return context.active();
  return parent === null ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, spanContextOf(parent));
}

function spanContextOf(name: TraceParent): SpanContext {
  const { trace: traceId, span: spanId, flags: traceFlags } = partsOf(name);
  return { traceId, spanId, traceFlags, isRemote: true };
}

function nameOf(about: SpanContext | undefined): TraceParent | undefined {
  if (!about) return undefined;
  return `00-${about.traceId}-${about.spanId}-${about.traceFlags.toString(16).padStart(2, '0')}`;
}

function lent(span: OtelSpan): Span {
  return {
    name: nameOf(span.spanContext()) ?? '',
    set: (attributes: Attributes) => void span.setAttributes({ ...attributes }),
    fail: (reason) => fail(span, reason),
  };
}

function fail(span: OtelSpan, message: string): void {
  span.setStatus({ code: SpanStatusCode.ERROR, message });
}
