export interface Page<T> {
  readonly items: readonly T[];
  /** Pass as `marker` to get the next page; null on the last. */
  readonly next_marker: string | null;
}

export interface PageRequest {
  readonly limit: number;
  /** The last id of the previous page. */
  readonly marker: string | null;
}

/** What one step of a walk over all records has removed. */
export interface Forgotten {
  readonly count: number;
  /** Pass as `marker` to continue; null at the end. */
  readonly next_marker: string | null;
}

/** Reads everything after `marker`, page by page. */
export async function* readAll<T>(
  read: (marker: string | null) => Promise<Page<T>>,
  marker: string | null = null,
): AsyncGenerator<T> {
  let page = await read(marker);
  yield* page.items;
  while (page.next_marker !== null) {
    page = await read(page.next_marker);
    yield* page.items;
  }
}
