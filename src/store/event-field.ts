export interface Numbered {
  readonly seq: number;
}

/** An event as its stream holds it: without its number, which is the entry's id, for there are very many of them. */
export function eventField({ seq: _, ...event }: Numbered): string {
  return JSON.stringify(event);
}

/** The inverse, from an entry's id and its field. */
export function eventFrom<Event extends Numbered>(entry_id: string, field: string): Event {
  return { seq: Number.parseInt(entry_id, 10), ...JSON.parse(field) } as Event;
}
