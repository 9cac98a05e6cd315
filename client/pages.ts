import type { Http } from './http.ts';

/** The largest page that the API gives. */
const PAGE = 100;

interface PageAnswer {
  readonly links?: readonly unknown[];
}

/** All items of a listing, page after page, fetched as they are asked for. */
export async function* allPages<Answer extends PageAnswer, Item extends { readonly id: string }>(
  http: Http,
  path: string,
  itemsOf: (answer: Answer) => readonly Item[],
): AsyncGenerator<Item, void> {
  let marker = '';
  for (;;) {
    const answer = await http.get<Answer>(`${path}?limit=${PAGE}${marker}`);
    const items = itemsOf(answer);
    yield* items;
    const last = items.at(-1);
    if (answer.links === undefined || last === undefined) return;
    marker = `&marker=${last.id}`;
  }
}
