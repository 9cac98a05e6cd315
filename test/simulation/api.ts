/**
 * The whole production API, called without a socket. Building an API takes longer than many a schedule. So an
 * API in which every request was answered is used again: in the next life of the process, or in the next
 * seed.
 */

import type { Access } from '../../api/access/caller.ts';
import { believeEverybody } from '../../api/access/loopback.ts';
import { accessRules, defaultChecks } from '../../api/access/rules.ts';
import { buildApp } from '../../api/app.ts';
import type { App, Deps } from '../../api/deps.ts';
import type { Logger } from '../../src/log.ts';

/** What one life of the process gives its API. */
type ApiDeps = Omit<Deps, 'access' | 'max_clusters'>;

export interface HttpRequest {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** The path below `/v1.0/{tenant_id}`. */
  readonly path: string;
  readonly tenant_id: string;
  /** The user whom the record names as the requester. */
  readonly user: string;
  readonly key?: string;
  readonly body?: Readonly<Record<string, unknown>>;
}

export interface HttpAnswer {
  readonly status: number;
  readonly location: string | null;
  readonly body: string;
}

const idle: Api[] = [];

/** Prepares `count` APIs, because none can be built during a simulation. */
export async function stockApis(count: number): Promise<void> {
  while (idle.length < count) idle.push(await Api.build());
}

export function takeApi(deps: ApiDeps): Api {
  const api = idle.pop();
  if (!api) throw new Error('no API is in stock');
  api.serveFor(deps);
  return api;
}

/** The API's life is over: an API with an unanswered request is never used again. */
export function giveBack(api: Api): void {
  if (api.isAtRest) idle.push(api);
}

export class Api {
  readonly #app: App;
  readonly #held: { deps: ApiDeps | null };
  #working = 0;

  static async build(): Promise<Api> {
    const held: { deps: ApiDeps | null } = { deps: null };
    const app = await buildApp(standIn(held));
    await app.ready();
    return new Api(app, held);
  }

  private constructor(app: App, held: { deps: ApiDeps | null }) {
    this.#app = app;
    this.#held = held;
  }

  get isAtRest(): boolean {
    return this.#working === 0;
  }

  serveFor(deps: ApiDeps): void {
    this.#held.deps = deps;
  }

  /** Never settles if the process dies while it handles the request. */
  async ask({ method, path, tenant_id, user, key, body }: HttpRequest): Promise<HttpAnswer> {
    this.#working += 1;
    const answer = await this.#app.inject({
      method,
      url: `/v1.0/${tenant_id}${path}`,
      headers: {
        'x-user': user,
        accept: 'application/json',
        ...(key !== undefined && { 'idempotency-key': key }),
      },
      ...(body && { payload: body }),
    });
    this.#working -= 1;
    const { location } = answer.headers;
    return {
      status: answer.statusCode,
      location: typeof location === 'string' ? location : null,
      body: answer.body,
    };
  }
}

/** A stand-in for the dependencies: each access goes to those of the present life. */
function standIn(held: { readonly deps: ApiDeps | null }): Deps {
  const log = new Proxy({} as Logger, {
    get: (_target, name) => (name === 'child' ? () => log : Reflect.get(held.deps?.log ?? SILENT, name)),
  });
  // Some routes read the bus while they are added: this bus has no dead letters to show.
  const built = { log, access, max_clusters: null, bus: {} } as unknown as Deps;
  return new Proxy(built, {
    get: (own, name) => Reflect.get(OWN.includes(String(name)) || !held.deps ? own : held.deps, name),
  });
}

const OWN = ['log', 'access', 'max_clusters'];
const rules = defaultChecks();
/** All users are who they claim to be, and may do whatever Trove's rules allow them. */
const access: Access = {
  authenticate: async (request, tenant_id) => ({
    ...(await believeEverybody(request, tenant_id)),
    user: String(request.headers['x-user']),
  }),
  rules: accessRules(() => rules),
  challenge: null,
  limits: null,
};

const quiet = () => undefined;
const SILENT = { fatal: quiet, error: quiet, warn: quiet, info: quiet, debug: quiet, trace: quiet };
