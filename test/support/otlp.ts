/** Where spans go: a receiver of OTLP over HTTP, as a collector is one. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface SeenSpan {
  readonly name: string;
  readonly trace: string;
  readonly span: string;
  /** Empty for the first of a trace. */
  readonly parent: string;
  readonly links: readonly string[];
  readonly service: string;
  readonly pid: number;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly failed: boolean;
}

interface Keyed {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
}

interface Told {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Keyed[] };
    readonly scopeSpans: readonly {
      readonly spans: readonly {
        readonly name: string;
        readonly traceId: string;
        readonly spanId: string;
        readonly parentSpanId?: string;
        readonly links?: readonly { readonly traceId: string }[];
        readonly attributes: readonly Keyed[];
        readonly status: { readonly code?: number };
      }[];
    }[];
  }[];
}

export class SpanReceiver {
  readonly spans: SeenSpan[] = [];
  readonly #server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const isOurs = request.url === '/v1/traces' && request.headers['content-type'] === 'application/json';
      if (isOurs) this.#take(JSON.parse(Buffer.concat(chunks).toString()) as Told);
      response.writeHead(isOurs ? 200 : 415, { 'content-type': 'application/json' }).end('{}');
    });
  });

  async start(): Promise<string> {
    await new Promise<void>((done) => this.#server.listen(0, '127.0.0.1', done));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }

  #take({ resourceSpans }: Told): void {
    for (const { resource, scopeSpans } of resourceSpans) {
      const about = valuesOf(resource.attributes);
      for (const span of scopeSpans.flatMap(({ spans }) => spans)) {
        this.spans.push({
          ...{ name: span.name, trace: span.traceId, span: span.spanId, parent: span.parentSpanId ?? '' },
          links: (span.links ?? []).map(({ traceId }) => traceId),
          ...{ service: String(about['service.name']), pid: Number(about['process.pid']) },
          ...{ attributes: valuesOf(span.attributes), failed: span.status.code === 2 },
        });
      }
    }
  }
}

function valuesOf(attributes: readonly Keyed[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}
