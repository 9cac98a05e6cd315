/** The streams of events on Redis: entry `<seq>-0` for event number `seq`; the rest of the event as JSON. */

export interface Numbered {
  readonly seq: number;
}

export interface EventsRequest {
  readonly limit: number;
  /** How long to wait for an event if there is none yet. */
  readonly wait_ms: number;
}

/** For a script with the argument `id`, the key `events` and the list `events`. */
export const EVENTS_LUA = {
  /** Checks that the events follow the last one without a gap. */
  check: `
local last = redis.call('XREVRANGE', EVENTS, '+', '-', 'COUNT', 1)[1]
local expected = last and tonumber(string.match(last[1], '^%d+')) or 0
for seq in events() do
  expected = expected + 1
  if tonumber(seq) ~= expected then return redis.error_reply('EVENTS ' .. expected .. ' is missing') end
end
`,
  add: `
for seq, event in events() do redis.call('XADD', EVENTS, seq .. '-0', 'event', event) end
`,
  /** Wakes the readers that wait for events: see `changes.ts`. */
  tell: `
if tonumber(events_length) > 0 then redis.call('PUBLISH', PREFIX .. ':changes:' .. id, '') end
`,
} as const;

/** The list `events` of a script. */
export function eventRows(events: readonly Numbered[]): readonly { seq: number; event: string }[] {
  return events.map((event) => ({ seq: event.seq, event: eventField(event) }));
}

/** An event as its stream holds it. The number is left out because the id of the entry holds it. */
export function eventField({ seq: _, ...event }: Numbered): string {
  return JSON.stringify(event);
}

/** The inverse, from an entry's id and its field. */
export function eventFrom<Event extends Numbered>(entry_id: string, field: string): Event {
  return { seq: Number.parseInt(entry_id, 10), ...JSON.parse(field) } as Event;
}
