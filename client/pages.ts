import type { Http } from './http.ts';

/** The largest page that the API returns. */
const PAGE = 100;

interface PageAnswer {
  readonly links?: readonly unknown[];
}

/** All items of a listing. Each page is fetched when its items are asked for. */
export function allPages<Answer extends PageAnswer, Item extends { readonly id: string }>(
  http: Http,
  path: string,
  itemsOf: (answer: Answer) => readonly Item[],
): AsyncGenerator<Item, void> {
  return pagesBy(http, path, itemsOf, ({ id }) => id);
}

/** The same for listings where the marker of a page is not an id. */
export async function* pagesBy<Answer extends PageAnswer, Item>(
  http: Http,
  path: string,
  itemsOf: (answer: Answer) => readonly Item[],
  markerOf: (item: Item) => string,
): AsyncGenerator<Item, void> {
  let marker = '';
  for (;;) {
    const separator = path.includes('?') ? '&' : '?';
    const answer = await http.get<Answer>(`${path}${separator}limit=${PAGE}${marker}`);
    const items = itemsOf(answer);
    yield* items;
    const last = items.at(-1);
    if (answer.links === undefined || last === undefined) return;
    marker = `&marker=${markerOf(last)}`;
  }
}
