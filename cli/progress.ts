import type { CofferClient, EventDocument, UpgradeDocument } from '../client/index.ts';
import { troublesIn } from './instances.ts';
import { renderLive, type Watching } from './live.ts';
import { printable } from './output.ts';
import { wayOn } from './upgrades.ts';

interface ProgressOptions extends Watching {
  /** On a terminal each instance has a row, redrawn in place; elsewhere each event is one line. */
  readonly isTTY: boolean;
  readonly color?: boolean;
  /** One line of JSON per event: `{"event": {…}}`. */
  readonly json?: boolean;
}

/** Shows the progress of an upgrade from its beginning. Resolves with the upgrade once it has ended. */
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
    const hints = event.type === 'paused' ? await hintsOf(client, upgrade_id) : [];
    return [logLine(event), ...hints].join('\n');
  });
}

async function renderLines(
  client: CofferClient,
  upgrade_id: string,
  { stream, until = 'ended', signal }: Watching,
  textOf: (event: EventDocument) => Promise<string>,
): Promise<UpgradeDocument> {
  for await (const event of client.upgrades.watch(upgrade_id, { until, signal })) {
    stream.write(`${await textOf(event)}\n`);
  }
  return client.upgrades.get(upgrade_id);
}

/**
 * Which instances are not well and why, and the command that lets the upgrade continue. Empty if the pause is
 * over by now, or if the API does not answer.
 */
async function hintsOf(client: CofferClient, upgrade_id: string): Promise<readonly string[]> {
  try {
    const upgrade = await client.upgrades.get(upgrade_id);
    const command = wayOn(upgrade);
    if (command === null) return [];
    const troubles = troublesIn(await client.clusters.get(upgrade.cluster_id));
    return [...troubles.map(printable), `To go on: ${command}`];
  } catch {
    return [];
  }
}

/** `2026-11-22T16:49:48.123Z  step_phase     shop-member-2: verifying` */
function logLine({ at, type, message }: EventDocument): string {
  return `${at}  ${type.padEnd(13)}  ${printable(message)}`;
}
