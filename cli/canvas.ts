/** Output that is redrawn in place on a terminal. */
import { CofferApiError } from '../client/index.ts';
import type { Terminal } from './io.ts';

export const FRAME_MS = 100;
/** What is shown changes without an event too, and with many events all the time: it is fetched this often. */
const REFRESH_MS = 1000;

/** What is on the screen. */
export interface Picture {
  note: string;
  isConnected: boolean;
  /** True when what is shown is to be fetched at once. */
  isStale: boolean;
}

interface Scene<Result> {
  readonly lines: () => readonly string[];
  /** Fetches what the lines show. */
  readonly fetch: () => Promise<void>;
  /** Resolves when there is nothing more to see. */
  readonly follow: () => Promise<Result>;
}

/** Draws a picture and keeps it fresh until `follow` resolves, and resolves with the same. */
export async function animate<Result>(
  stream: Terminal,
  picture: Picture,
  scene: Scene<Result>,
): Promise<Result> {
  const { lines, fetch, follow } = scene;
  const canvas = new Canvas(stream);
  const stopped = new AbortController();
  const refreshing = keepFresh(picture, fetch, stopped.signal);
  const frames = setInterval(() => canvas.draw(lines()), FRAME_MS);
  try {
    return await follow();
  } finally {
    clearInterval(frames);
    stopped.abort();
    canvas.draw(lines());
    await refreshing;
  }
}

async function keepFresh(picture: Picture, fetch: () => Promise<void>, stopped: AbortSignal): Promise<void> {
  let fetched = 0;
  while (!stopped.aborted) {
    if (picture.isStale || Date.now() - fetched > REFRESH_MS) {
      fetched = Date.now();
      await refresh(picture, fetch);
    }
    await new Promise((resolve) => setTimeout(resolve, FRAME_MS));
  }
}

export async function refresh(picture: Picture, fetch: () => Promise<void>): Promise<void> {
  picture.isStale = false;
  try {
    await fetch();
    picture.isConnected = true;
  } catch (error) {
    // The watch itself decides whether to give up; the picture only shows that the connection is lost.
    if (error instanceof CofferApiError) picture.isConnected = false;
  }
}

/** Lines that are redrawn again and again in the same place. */
class Canvas {
  readonly #stream: Terminal;
  #height = 0;
  #drawn = '';

  constructor(stream: Terminal) {
    this.#stream = stream;
  }

  draw(lines: readonly string[]): void {
    const text = lines.map((line) => `${line}\n`).join('');
    if (text === this.#drawn) return;
    const up = this.#height > 0 ? `\x1b[${this.#height}A` : '';
    this.#stream.write(`${up}\r\x1b[0J${text}`);
    this.#drawn = text;
    this.#height = lines.length;
  }
}

/** `1:05`; empty before the start. */
export function elapsed(started: string | null, ended: string | null): string {
  if (started === null) return '';
  const end = ended === null ? Date.now() : Date.parse(ended);
  return minutes(end - Date.parse(started));
}

function minutes(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

/** `  about 0:12 left`; empty where there is no estimate. */
export function remaining(estimated_end: string | null): string {
  if (estimated_end === null) return '';
  return `  about ${minutes(Date.parse(estimated_end) - Date.now())} left`;
}

export function clip(text: string, columns: number): string {
  return text.length < columns ? text : `${text.slice(0, columns - 2)}…`;
}
