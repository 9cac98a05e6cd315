import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { Bus } from '../src/bus/bus.ts';
import type { Instant } from '../src/core/domain.ts';
import type { Logger } from '../src/log.ts';
import type { MasterKey } from '../src/master-key.ts';
import type { BatchRequests } from '../src/queue.ts';
import type { KeyedRequest } from '../src/store/requests.ts';
import type { Store } from '../src/store/store.ts';
import type { Span, Tracing } from '../src/tracing.ts';
import type { Access, Caller } from './access/caller.ts';

/** Everything that the handlers work with; nothing of it is global. */
export interface Deps {
  readonly store: Store;
  readonly bus: Bus;
  readonly log: Logger;
  readonly now: () => Instant;
  /** A new random id, in the form of a UUID. */
  readonly newId: () => string;
  readonly access: Access;
  /** How many clusters a tenant may have; null for no limit. */
  readonly max_clusters: number | null;
  /**
   * Makes a taskmanager check a batch soon. Never rejects: if the request is lost, the check becomes due by
   * itself.
   */
  readonly wakeBatch: (batch_id: string) => void;
  /** `external`: the creator of a cluster starts its agents, which join with a token. */
  readonly provisioner: 'local' | 'external';
  readonly tracing?: Tracing;
  /** The outcomes of the jobs that request batches; rejects while Redis is away. */
  readonly batchRequests?: () => Promise<BatchRequests>;
  /** Encrypts the keys of instances; null: no instance gets a key. Always set with external agents. */
  readonly masterKey: MasterKey | null;
}

/** A request that this process carries out under a key. */
export interface Claim {
  readonly request: KeyedRequest;
  /** The same id in every try: what the request begins has this id, so that it begins only once. */
  readonly operation_id: string;
}

/** The fastify instance that routes are added to. */
export type App = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>;

declare module 'fastify' {
  interface FastifyRequest {
    /** The caller. Set before any handler under `/v1.0/{tenant_id}` runs. */
    caller: Caller;
    /** Checks the caller again, for requests that last long: rejects once the request would be refused. */
    admitAgain: () => Promise<Caller>;
    /** The span of this request; null where nothing is traced. */
    span: Span | null;
    /** Set while a request with an `Idempotency-Key` is carried out. */
    claim: Claim | null;
  }
}
