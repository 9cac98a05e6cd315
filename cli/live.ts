import type {
  ClusterDocument,
  ClusterInstanceDocument,
  CofferClient,
  StepDocument,
  UpgradeDocument,
} from '../client/index.ts';
import { animate, clip, elapsed, FRAME_MS, type Picture, refresh, remaining } from './canvas.ts';
import { reasonsOf } from './instances.ts';
import type { Terminal } from './io.ts';
import { columnsOf, printable } from './output.ts';
import { wayOn } from './upgrades.ts';

/** Assumed height of a terminal that does not report one. */
const ROWS = 24;
const SPINNER = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏';

/** How an upgrade is watched. */
export interface Watching {
  readonly stream: Terminal;
  /** `settled`: stop also at a pause that waits for a person. Default `ended`. */
  readonly until?: 'ended' | 'settled';
  /** Ends the watching, not the upgrade; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

interface LiveOptions extends Watching {
  readonly color: boolean;
}

interface UpgradePicture extends Picture {
  upgrade: UpgradeDocument | null;
  cluster: ClusterDocument | null;
}

/** Shows an upgrade on a terminal: one row per instance, redrawn in place. */
export async function renderLive(
  client: CofferClient,
  id: string,
  options: LiveOptions,
): Promise<UpgradeDocument> {
  const { stream, until = 'ended', signal, color } = options;
  const picture: UpgradePicture = {
    ...{ upgrade: null, cluster: null, note: '', isConnected: true, isStale: true },
  };
  const fetch = async () => {
    picture.upgrade = await client.upgrades.get(id);
    picture.cluster = await client.clusters.get(picture.upgrade.cluster_id);
  };
  const onDisconnect = () => {
    picture.isConnected = false;
  };
  const follow = async () => {
    for await (const event of client.upgrades.watch(id, { until, signal, onDisconnect })) {
      picture.note = event.type === 'planned' ? `planned: ${event.message}` : event.message;
      picture.isConnected = true;
      picture.isStale = true;
    }
    await refresh(picture, fetch);
    return picture.upgrade ?? client.upgrades.get(id);
  };
  return animate(stream, picture, { lines: () => linesOf(picture, stream, color), fetch, follow });
}

function linesOf(picture: UpgradePicture, terminal: Terminal, color: boolean): string[] {
  const columns = columnsOf(terminal);
  const { upgrade, cluster, note, isConnected } = picture;
  if (upgrade === null) return ['Connecting …'];
  const paint = color ? painted : plain;
  const instances = (cluster?.instances ?? []).map((instance) => rowOf(instance, upgrade.steps));
  // A terminal can't scroll back over text that is redrawn: so the current state stands first.
  const command = wayOn(upgrade);
  const room = Math.max(3, (terminal.rows || ROWS) - 5);
  const visible =
    instances.length <= room
      ? instances
      : instances.toSorted((a, b) => b.urgency - a.urgency).slice(0, room - 1);
  const hidden = instances.length - visible.length;
  const width = Math.max(8, ...visible.map(({ name }) => name.length));
  return [
    clip(headOf(upgrade), columns),
    ...visible.map((row) => paint(row.phase, clip(textOfRow(row, width), columns))),
    ...(hidden > 0 ? [`  … and ${hidden} more`] : []),
    clip(isConnected ? (upgrade.message ?? note) : 'The connection was lost; trying again …', columns),
    // Not clipped: half an id is of no use.
    ...(command === null ? [] : [`To go on: ${command}`]),
  ];
}

function headOf({
  cluster_name,
  cluster_id,
  from,
  to,
  state,
  progress,
  started,
  ended,
  estimated_end,
}: UpgradeDocument): string {
  const name = printable(cluster_name ?? cluster_id);
  const steps = `${progress.done} of ${progress.total} steps`;
  return `${name}  ${from.name} → ${to.name}  ${state}  ${steps}  ${elapsed(started, ended)}${remaining(estimated_end)}`;
}

interface Row {
  readonly name: string;
  readonly role: string;
  readonly version: string;
  readonly phase: string;
  readonly time: string;
  readonly note: string;
  readonly urgency: number;
}

function rowOf(instance: ClusterInstanceDocument, steps: readonly StepDocument[]): Row {
  const own = steps.filter((step) => step.instance_id === instance.id || step.successor_id === instance.id);
  const step = own.find(isMoving) ?? own.find(({ kind }) => kind === 'instance');
  return {
    name: printable(instance.name),
    role: instance.role ?? '-',
    version: instance.version ?? '-',
    phase: step?.phase ?? 'waiting',
    time: step === undefined ? '' : elapsed(step.started, step.ended),
    note: step?.error ?? step?.blocked?.reason ?? reasonsOf(instance).join('; '),
    urgency:
      step === undefined
        ? 0
        : isMoving(step)
          ? 3
          : step.phase === 'failed'
            ? 2
            : step.phase === 'pending'
              ? 1
              : 0,
  };
}

function isMoving({ phase }: StepDocument): boolean {
  return phase !== 'pending' && phase !== 'done' && phase !== 'failed';
}

function textOfRow({ name, role, version, phase, time, note }: Row, width: number): string {
  const cells = [name.padEnd(width), role.padEnd(7), version.padEnd(8), phase.padEnd(10), time.padStart(5)];
  return `${signOf(phase)} ${cells.join('  ')}${note === '' ? '' : `  ${printable(note)}`}`;
}

function signOf(phase: string): string {
  switch (phase) {
    case 'done':
      return '✔';
    case 'failed':
      return '✖';
    case 'pending':
    case 'waiting':
      return '·';
    default:
      return SPINNER[Math.floor(Date.now() / FRAME_MS) % SPINNER.length] ?? '*';
  }
}

const COLORS: ReadonlyMap<string, number> = new Map([
  ['done', 32],
  ['failed', 31],
  ['pending', 2],
  ['waiting', 2],
]);

function painted(phase: string, text: string): string {
  return `\x1b[${COLORS.get(phase) ?? 33}m${text}\x1b[0m`;
}

function plain(_phase: string, text: string): string {
  return text;
}
