import type { CofferClient, EventDocument, UpgradeDocument } from '../client/index.ts';
import { type Follow, renderLive } from './live.ts';
import { printable } from './output.ts';
import { wayOn } from './upgrades.ts';

export interface ProgressOptions extends Follow {
  /** One row per instance, redrawn in place; else one line per event. */
  readonly isTTY: boolean;
  readonly color?: boolean;
  /** One line of JSON per event: `{"event": {…}}`. */
  readonly json?: boolean;
}

/** Shows an upgrade as it goes, from its beginning. Resolves with the upgrade once it has ended. */
export async function renderProgress(
  client: CofferClient,
  upgrade_id: string,
  options: ProgressOptions,
): Promise<UpgradeDocument> {
  if (options.json) {
    return renderLines(client, upgrade_id, options, async (event) => JSON.stringify({ event }));
  }
  if (options.isTTY) return renderLive(client, upgrade_id, { ...options, color: options.color ?? true });
  return renderLines(client, upgrade_id, options, async (event) => {
    const command = event.type === 'paused' ? await commandToGoOn(client, upgrade_id) : null;
    return command === null ? logLine(event) : `${logLine(event)}\nTo go on: ${command}`;
  });
}

async function renderLines(
  client: CofferClient,
  upgrade_id: string,
  { stream, until = 'ended', signal }: Follow,
  textOf: (event: EventDocument) => Promise<string>,
): Promise<UpgradeDocument> {
  for await (const event of client.upgrades.watch(upgrade_id, { until, signal })) {
    stream.write(`${await textOf(event)}\n`);
  }
  return client.upgrades.get(upgrade_id);
}

/** Null if the pause is over by now, or nobody can say: it is only a hint. */
async function commandToGoOn(client: CofferClient, upgrade_id: string): Promise<string | null> {
  return client.upgrades.get(upgrade_id).then(wayOn, () => null);
}

/** `2026-11-22T16:49:48.123Z  step_phase     shop-member-2: verifying` */
function logLine({ at, type, message }: EventDocument): string {
  return `${at}  ${type.padEnd(13)}  ${printable(message)}`;
}
