import type { BatchDocument, BatchEventDocument, CofferClient, WaveDocument } from '../client/index.ts';
import { wayOnOf } from './batch-waves.ts';
import { animate, clip, elapsed, type Picture, remaining } from './canvas.ts';
import type { Terminal } from './io.ts';
import { columnsOf, printable } from './output.ts';

const BAR = 24;

interface BatchProgressOptions {
  readonly stream: Terminal;
  /** On a terminal each wave has a bar, redrawn in place; elsewhere each event is one line. */
  readonly isTTY: boolean;
  /** One line of JSON per event: `{"event": {…}}`. */
  readonly json: boolean;
  readonly until: 'ended' | 'settled';
  readonly signal: AbortSignal;
}

/**
 * Shows the progress of a batch from its beginning. Resolves with the batch once it has ended or waits for a
 * person.
 */
export async function renderBatch(
  client: CofferClient,
  id: string,
  options: BatchProgressOptions,
): Promise<BatchDocument> {
  const { stream, isTTY, json, until, signal } = options;
  if (isTTY && !json) return renderBars(client, id, options);
  for await (const event of client.batches.watch(id, { until, signal })) {
    stream.write(`${json ? JSON.stringify({ event }) : logLine(event)}\n`);
  }
  return client.batches.get(id);
}

function logLine({ at, type, message }: BatchEventDocument): string {
  return `${at}  ${type.padEnd(17)}  ${printable(message)}`;
}

interface BatchPicture extends Picture {
  batch: BatchDocument | null;
}

async function renderBars(
  client: CofferClient,
  id: string,
  { stream, until, signal }: BatchProgressOptions,
): Promise<BatchDocument> {
  const picture: BatchPicture = { batch: null, note: '', isConnected: true, isStale: true };
  const fetch = async () => {
    picture.batch = await client.batches.get(id);
  };
  const follow = async () => {
    for await (const event of client.batches.watch(id, { until, signal })) picture.note = event.message;
    picture.batch = await client.batches.get(id);
    return picture.batch;
  };
  return animate(stream, picture, { lines: () => linesOf(picture, stream), fetch, follow });
}

function linesOf({ batch, note, isConnected }: BatchPicture, terminal: Terminal): string[] {
  const columns = columnsOf(terminal);
  if (batch === null) return ['Connecting …'];
  const command = wayOnOf(batch);
  const said = batch.message ?? note;
  return [
    clip(headOf(batch), columns),
    ...batch.waves.map((wave) => clip(barOf(wave, batch), columns)),
    clip(isConnected ? printable(said) : 'The connection was lost; trying again …', columns),
    ...(command === null ? [] : [`To go on: ${command}`]),
  ];
}

function headOf({ id, name, datastore, to, state, started, ended, estimated_end }: BatchDocument): string {
  return `${printable(name ?? id)}  ${datastore} → ${to.name}  ${state}  ${elapsed(started, ended)}${remaining(estimated_end)}`;
}

/** `wave 2  ██████████▒▒──────  41/60  4 running  1 failed` */
function barOf({ number, size, counts, soak_seconds }: WaveDocument, batch: BatchDocument): string {
  const { succeeded, failed, skipped, cancelled, running } = counts;
  const over = succeeded + failed + skipped + cancelled;
  const done = size === 0 ? BAR : Math.floor((over / size) * BAR);
  const moving = Math.min(BAR - done, size === 0 ? 0 : Math.ceil((running / size) * BAR));
  const bar = '█'.repeat(done) + '▒'.repeat(moving) + '─'.repeat(BAR - done - moving);
  const soaks = batch.soaks_until !== null && number === batch.wave;
  const notes = [
    running > 0 && `${running} running`,
    failed > 0 && `${failed} failed`,
    skipped > 0 && `${skipped} skipped`,
    cancelled > 0 && `${cancelled} cancelled`,
    soaks && `soaks for ${soak_seconds} s`,
  ].filter((note) => note !== false);
  return `wave ${String(number).padEnd(2)} ${bar}  ${over}/${size}  ${notes.join('  ')}`;
}
