import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type {
  AppControllerRoute,
  AppViewRoute,
  BullBoardQueues,
  BullBoardRequest,
  IServerAdapter,
  UIConfig,
} from '@bull-board/api/typings/app';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { CofferError } from '../src/core/errors.ts';
import { textOf } from '../src/log.ts';
import { useAdminRule } from './access/enforce.ts';
import type { App, Deps } from './deps.ts';
import { HTML, readFiles, type StaticFile, sendBody } from './static-files.ts';

const PREFIX = '/admin/queues';

/**
 * Whatever is on the page comes from here. bull-board's own page asks Google for a font, and styles what is
 * shown until its scripts run within the page: both are left out, so that neither has to be allowed.
 */
const PAGE_HEADERS = {
  'content-security-policy': [
    "default-src 'none'",
    ...['script-src', 'style-src', 'font-src', 'connect-src', 'base-uri'].map((what) => `${what} 'self'`),
    "img-src 'self' data:",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; '),
  'cross-origin-opener-policy': 'same-origin',
};
const FOREIGN = /<link href="https:[^>]*>|<style>.*?<\/style>| style="[^"]*"/gs;

/** What bull-board wants to be served. */
export class QueueBoard implements IServerAdapter {
  #page = '';
  #files: ReadonlyMap<string, StaticFile> = new Map();
  #queues: BullBoardQueues = new Map();
  #config: UIConfig = {};
  #entry: AppViewRoute | undefined;
  #routes: readonly AppControllerRoute[] = [];

  setQueues(queues: BullBoardQueues): this {
    this.#queues = queues;
    return this;
  }

  setViewsPath(folder: string): this {
    this.#page = readFileSync(join(folder, 'index.ejs'), 'utf8').replace(FOREIGN, '');
    return this;
  }

  setStaticPath(_route: string, folder: string): this {
    this.#files = readFiles(folder);
    return this;
  }

  setEntryRoute(route: AppViewRoute): this {
    this.#entry = route;
    return this;
  }

  setErrorHandler(): this {
    return this;
  }

  setApiRoutes(routes: AppControllerRoute[]): this {
    this.#routes = routes;
    return this;
  }

  setUIConfig(config: UIConfig): this {
    this.#config = config;
    return this;
  }

  /** `/admin/queues` and all below it, for whoever may see it. Nothing there changes anything: only GET is known. */
  routes(scope: App, { access }: Pick<Deps, 'access'>): void {
    useAdminRule(scope, access, 'queue:show');
    const hidden = { schema: { hide: true } };
    for (const route of [this.#entry?.route ?? []].flat()) {
      scope.get(`${PREFIX}${route}`, hidden, async (_request, reply) => this.#sendPage(reply));
    }
    scope.get<{ Params: { '*': string } }>(`${PREFIX}/static/*`, hidden, async (request, reply) => {
      const file = this.#files.get(request.params['*']);
      if (!file) throw new CofferError('not_found', 'The resource could not be found.');
      // A worker goes by the policy of its own script.
      reply.headers(PAGE_HEADERS).header('cache-control', 'private, max-age=86400');
      return sendBody(request, reply, file);
    });
    for (const { method, route, handler } of this.#routes) {
      if (![method].flat().includes('get')) continue;
      for (const each of [route].flat()) {
        scope.get(`${PREFIX}${each}`, hidden, async (request, reply) => {
          const { status = 200, body } = await this.#answer(handler, request);
          return reply.code(status).send(body);
        });
      }
    }
  }

  #sendPage(reply: FastifyReply) {
    const { params } = this.#entry?.handler({ basePath: PREFIX, uiConfig: this.#config }) ?? { params: {} };
    const values: Readonly<Record<string, string>> = params;
    const page = this.#page.replace(/<%[-=] (\w+) %>/g, (_, name: string) => values[name] ?? '');
    return reply.headers(PAGE_HEADERS).type(HTML).send(page);
  }

  async #answer(handler: AppControllerRoute['handler'], request: FastifyRequest) {
    const { params, query, headers } = request as Pick<BullBoardRequest, 'params' | 'query' | 'headers'>;
    const [queues, uiConfig] = [this.#queues, this.#config];
    try {
      return await handler({ params, query, headers, body: {}, queues, uiConfig });
    } catch (cause) {
      throw new CofferError('store_unavailable', `The queues can't be read: ${textOf(cause)}`, { cause });
    }
  }
}
