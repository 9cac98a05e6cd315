import { z } from 'zod';
import { EventsQuery, UpgradeParams } from '../../src/contract/http.ts';
import { EventsAnswer } from '../../src/contract/upgrade-documents.ts';
import { isActive, type UpgradeEvent, type UpgradeEventType } from '../../src/core/record.ts';
import type { App, Deps } from '../deps.ts';
import { STREAM_DESCRIPTION, Streams } from '../http/event-stream.ts';
import { findUpgrade } from './routes.ts';
import { eventView } from './view.ts';

/** The last event of an upgrade has one of these types. */
const TERMINAL: readonly UpgradeEventType[] = ['succeeded', 'failed', 'cancelled', 'rolled_back'];

/** `/upgrades/{id}/events`: server-sent events, or a list for clients that ask for JSON. */
export function eventRoutes(app: App, deps: Deps): void {
  const streams = new Streams(app, deps);

  app.get(
    '/upgrades/:upgrade_id/events',
    {
      exposeHeadRoute: false,
      config: { rule: 'upgrade:show' },
      schema: {
        tags: ['upgrades'],
        summary: 'What happens in an upgrade, as it happens',
        description: STREAM_DESCRIPTION,
        params: UpgradeParams,
        querystring: EventsQuery,
        response: { 200: EventsAnswer, 204: z.null() },
      },
    },
    async (request, reply) => {
      const { upgrade, cluster } = await findUpgrade(deps, request.caller, request.params.upgrade_id);
      return streams.answer<UpgradeEvent>(request, reply, {
        id: upgrade.id,
        after: request.query.last_event_id ?? 0,
        last: isActive(upgrade) ? null : upgrade.seq,
        terminal: TERMINAL,
        read: (after, options) => deps.store.upgrades.events(upgrade.id, after, options),
        view: (event) => eventView(event, cluster),
        isSeenBy: (caller) => caller.sees(upgrade.tenant_id),
      });
    },
  );
}
