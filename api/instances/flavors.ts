import { FlavorAnswer, FlavorsAnswer } from '../../src/contract/documents.ts';
import { FlavorParams, TenantParams } from '../../src/contract/http.ts';
import type { App } from '../deps.ts';
import { urlsOf } from '../http/urls.ts';
import { flavorView } from './view.ts';

const tags = ['flavors'];
/** The flavor of instances whose creator named none. */
const DEFAULT_FLAVOR = '1';

/**
 * `/flavors`, which Trove's clients request before they name a flavor. In Coffer a flavor is a label that
 * operators choose, so every name is found.
 */
export function flavorRoutes(app: App): void {
  app.get(
    '/flavors',
    {
      config: { rule: 'flavor:index' },
      schema: {
        tags,
        summary: 'The default flavor; any other label will do as well',
        params: TenantParams,
        response: { 200: FlavorsAnswer },
      },
    },
    async (request) => ({ flavors: [flavorView(DEFAULT_FLAVOR, urlsOf(request))] }),
  );

  app.get(
    '/flavors/:flavor',
    {
      config: { rule: 'flavor:show' },
      schema: { tags, summary: 'A flavor', params: FlavorParams, response: { 200: FlavorAnswer } },
    },
    async (request) => ({ flavor: flavorView(request.params.flavor, urlsOf(request)) }),
  );
}
