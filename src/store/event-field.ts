export interface Numbered {
  readonly seq: number;
}

/**
 * An event as its stream holds it. The number is left out because the id of the entry holds it, and there are
 * very many events.
 */
export function eventField({ seq: _, ...event }: Numbered): string {
  return JSON.stringify(event);
}

/** The inverse, from an entry's id and its field. */
export function eventFrom<Event extends Numbered>(entry_id: string, field: string): Event {
  return { seq: Number.parseInt(entry_id, 10), ...JSON.parse(field) } as Event;
}
