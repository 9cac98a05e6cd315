import {
  AdoptBody,
  AdoptingClusterAnswer,
  type AdoptingClusterDocument,
  AdoptionAnswer,
} from '../../src/contract/adoption-documents.ts';
import { ClusterParams, TenantParams } from '../../src/contract/http.ts';
import { CofferError } from '../../src/core/errors.ts';
import { lookUp } from '../clusters/look-up.ts';
import { clusterView } from '../clusters/view.ts';
import type { App, Deps } from '../deps.ts';
import { urlsOf } from '../http/urls.ts';
import { adoptCluster } from './adopt.ts';
import { adoptionView } from './view.ts';

const tags = ['adoptions'];

/** `/adoptions`, and the report on an adopted cluster. */
export function adoptionRoutes(app: App, deps: Deps): void {
  app.post(
    '/adoptions',
    {
      config: { rule: 'cluster:adopt' },
      schema: {
        tags,
        summary: 'Adopt a cluster: servers that exist and serve',
        description:
          'Nothing on the hosts changes. On each host an agent joins with its token, and reports what it has found; the report is at `clusters/{cluster_id}/adoption`.',
        params: TenantParams,
        body: AdoptBody,
        response: { 200: AdoptingClusterAnswer },
      },
    },
    async (request) => {
      const { caller, claim, body } = request;
      const { cluster, join_tokens } = await adoptCluster(deps, caller, body.adoption, claim?.operation_id);
      const tokens = cluster.instances.flatMap(({ id, name, address }): JoinToken[] => {
        const join_token = join_tokens.get(id);
        if (join_token === undefined || !address) return [];
        return [{ instance_id: id, instance_name: name, endpoint: address, join_token }];
      });
      return { cluster: { ...clusterView(cluster, urlsOf(request), deps.now()), join_tokens: tokens } };
    },
  );

  app.get(
    '/clusters/:cluster_id/adoption',
    {
      config: { rule: 'cluster:show' },
      schema: {
        tags,
        summary:
          'What was found on the servers of an adopted cluster, what Coffer would do there, what is refused',
        params: ClusterParams,
        response: { 200: AdoptionAnswer },
      },
    },
    async (request) => {
      const { cluster, catalogue } = await lookUp(deps, request.caller, request.params.cluster_id);
      if (cluster.adopted) return { adoption: adoptionView(cluster, catalogue) };
      const message = `Cluster ${cluster.name} was built by Coffer, and not adopted: there is no report on it.`;
      throw new CofferError('action_refused', message);
    },
  );
}

type JoinToken = AdoptingClusterDocument['join_tokens'][number];
