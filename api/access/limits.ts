import { LimitsAnswer } from '../../src/contract/documents.ts';
import { TenantParams } from '../../src/contract/http.ts';
import type { App, Deps } from '../deps.ts';
import { troveTime } from '../times.ts';

/** `/limits`: what a tenant may have, and how many requests it may send. */
export function limitRoutes(app: App, { access, max_clusters, now }: Deps): void {
  app.get(
    '/limits',
    {
      config: { rule: 'limits:index' },
      schema: {
        tags: ['limits'],
        summary: 'What a tenant may have, and how often it may ask',
        params: TenantParams,
        response: { 200: LimitsAnswer },
      },
    },
    async ({ caller }): Promise<LimitsAnswer> => {
      const nextAvailable = `${troveTime(now())}Z`;
      const rates = access.limits?.of(caller.project_id ?? caller.user ?? '') ?? [];
      return {
        limits: [
          {
            verb: 'ABSOLUTE',
            // Coffer counts clusters, and makes no backups.
            ...{ max_instances: -1, max_ram: -1, max_volumes: -1, max_backups: 0 },
            max_clusters: max_clusters ?? -1,
          },
          ...rates.map((rate) => ({
            ...rate,
            ...({ uri: '*', regex: '.*', unit: 'MINUTE', nextAvailable } as const),
          })),
        ],
      };
    },
  );
}
