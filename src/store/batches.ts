/**
 * Batches. On Redis:
 *
 * | key | type | holds |
 * |---|---|---|
 * | `batch:<id>` | hash | `revision`, `wave`, `doc` (the head) |
 * | `batch:<id>:members` | hash | members by position |
 * | `batch:<id>:positions` | hash | positions by cluster id |
 * | `batch:<id>:state:<state>` | sorted set | positions of the members in that state |
 * | `batch:<id>:open:<wave>` | sorted set | positions of the wave's open members, by the time of their turn |
 * | `batch:<id>:hints` | set | `<position>:<revision>` of upgrades that have moved |
 * | `batch:<id>:events` | stream | see `events.ts` |
 * | `batches` | sorted set | ids of all batches, in order of id |
 * | `batches:<tenant>` | sorted set | batch ids by creation |
 * | `batch-loads` | hash | by batch id: how many of the places for all batches the batch has and wants |
 */
import {
  type Batch,
  type BatchEvent,
  isOpen,
  MEMBER_STATES,
  type Member,
  type MemberStateName,
} from '../core/batch/record.ts';
import type { Load } from '../core/batch/share.ts';
import type { Instant } from '../core/domain.ts';
import { EVENTS_LUA, type EventsRequest, eventField, eventRows } from './events.ts';
import type { Forgotten, Page, PageRequest } from './page.ts';
import { RedisPart } from './redis-port.ts';
import { script } from './script.ts';

/** A batch that got a hint is checked after this long at the latest, even if no taskmanager was woken. */
export const HINT_GRACE_MS = 1_000;

/**
 * Which members are read together with the head, in addition to those with a hint and those that are ready.
 */
interface BatchWant {
  readonly now: Instant;
  /** All members in these states. */
  readonly states: readonly MemberStateName[];
  /** The members for these clusters. Clusters that are not in the batch are left out. */
  readonly cluster_ids: readonly string[];
}

/** One consistent view. */
export interface LoadedBatch {
  readonly batch: Batch;
  readonly members: readonly Member[];
  /** Hints at upgrades that have moved since the last check. They must be given back with the commit. */
  readonly hints: readonly string[];
  /** Positions of open members of the current wave whose turn has come, `BATCH_CHUNK` at most. */
  readonly ready: readonly number[];
  readonly ready_count: number;
  readonly next_ready: Instant | null;
  /** The places that the other batches have and want. */
  readonly others: readonly Load[];
}

/** A new revision of a batch, with everything that must become true together with it. */
export interface BatchCommit {
  /** `batch.revision` is the revision that was read plus one. */
  readonly batch: Batch;
  readonly members: readonly { readonly before: Member; readonly after: Member }[];
  readonly events: readonly BatchEvent[];
  /** The hints that this check has handled. */
  readonly hints: readonly string[];
  /** The places that the batch has and wants from now on; null once it has ended. */
  readonly load: Load | null;
  /**
   * Set if an upgrade begins: the commit is a `conflict` if all batches together would have more in flight.
   * Null: nothing begins.
   */
  readonly max_concurrent_total: number | null;
  /**
   * When the batch must be checked again; null once it has ended. If there are new hints by then, it is
   * checked at once.
   */
  readonly wake_at: Instant | null;
  readonly now: Instant;
}

export interface MembersRequest extends PageRequest {
  /** Only members in this state. */
  readonly state: MemberStateName | null;
}

/** How many hints, and how many ready members, one check reads at most. */
export const BATCH_CHUNK = 200;

export interface BatchStore {
  /**
   * Creates the record at revision 1 with its members and its first event. `duplicate`: a batch of this id
   * was created before.
   */
  create(
    batch: Batch,
    members: readonly Member[],
    event: BatchEvent,
    wake_at: Instant,
  ): Promise<'begun' | 'duplicate'>;
  get(id: string): Promise<Batch | null>;
  /** A tenant's batches, newest first. */
  list(tenant_id: string, page: PageRequest): Promise<Page<Batch>>;
  /** All tenants' batches, in order of id. */
  page(page: PageRequest): Promise<Page<Batch>>;
  /** In order of position; `marker` is a position. */
  members(id: string, page: MembersRequest): Promise<Page<Member>>;
  load(id: string, want: BatchWant): Promise<LoadedBatch | null>;
  /**
   * `conflict`: another revision was committed since, or there are fewer places. The caller reads again and
   * decides again.
   */
  commit(commit: BatchCommit): Promise<'committed' | 'conflict'>;
  /** There was nothing to do at this revision: removes the hints, and sets the time of the next check. */
  looked(batch: Batch, hints: readonly string[], wake_at: Instant): Promise<void>;
  /**
   * Removes batches that ended before this time, with their members and events. Checks up to `limit` batches
   * in order of id.
   */
  forget(before: Instant, page: PageRequest): Promise<Forgotten>;
  /** Events after `after_seq`, oldest first. */
  events(id: string, after_seq: number, request: EventsRequest): Promise<readonly BatchEvent[]>;
}

/**
 * The hint that the upgrade of a batch's member has moved. Each revision has a hint of its own, so that no
 * hint hides another.
 */
export function hintOf(position: number, revision: number): string {
  return `${position}:${revision}`;
}

/**
 * When the turn of an open member comes. Members that may begin at any time get times in the distant past, in
 * order of position.
 */
export function readyAt({ state, position }: Member): Instant {
  return state.name === 'waiting' ? state.until : position - 1_000_000_000;
}

const BATCH = { batch: ['hash', 'batch:<id>'] } as const;
const DUE = { due: ['zset', 'due'] } as const;
const EVENTS = { events: ['stream', 'batch:<id>:events'] } as const;
const LOADS = { loads: ['hash', 'batch-loads'] } as const;
const BATCHES = { batches: ['zset', 'batches'] } as const;

/** Writes a member, and moves its position from one index to another. */
const INDEX = `
local function index(position, doc, from, to, wave, turn)
  redis.call('HSET', BATCH .. ':members', position, doc)
  if from ~= '' then redis.call('ZREM', BATCH .. ':state:' .. from, position) end
  redis.call('ZADD', BATCH .. ':state:' .. to, position, position)
  if wave == '' then return end
  if turn == '' then redis.call('ZREM', BATCH .. ':open:' .. wave, position)
  else redis.call('ZADD', BATCH .. ':open:' .. wave, turn, position) end
end
`;

const CREATE = script('batches.create', {
  keys: { ...BATCH, ...EVENTS, ...DUE, ...BATCHES, of_tenant: ['zset', 'batches:<tenant_id>'] },
  args: ['id', 'created', 'doc', 'event', 'wake_at'],
  lists: { members: ['position', 'member', 'state', 'wave', 'turn', 'cluster_id'] },
  lua: `${INDEX}
if redis.call('EXISTS', BATCH) == 1 then return 'duplicate' end
redis.call('HSET', BATCH, 'revision', 1, 'wave', 0, 'doc', doc)
redis.call('XADD', EVENTS, '1-0', 'event', event)
redis.call('ZADD', DUE, wake_at, 'batch:' .. id)
redis.call('ZADD', OF_TENANT, created, id)
redis.call('ZADD', BATCHES, 0, id)
for position, member, state, wave, turn, cluster_id in members() do
  index(position, member, '', state, wave, turn)
  redis.call('HSET', BATCH .. ':positions', cluster_id, position)
end
return 'begun'`,
});

const LOAD = script('batches.load', {
  keys: { batch: ['read', 'batch:<id>'], loads: ['read', 'batch-loads'] },
  args: ['now', 'chunk'],
  lists: { states: ['state'], clusters: ['cluster_id'] },
  lua: `
local head = redis.call('HMGET', BATCH, 'doc', 'wave')
if not head[1] then return false end
local open = BATCH .. ':open:' .. head[2]
local hints = redis.call('SRANDMEMBER', BATCH .. ':hints', chunk)
local ready = redis.call('ZRANGEBYSCORE', open, '-inf', now, 'LIMIT', 0, chunk)
local later = redis.call('ZRANGEBYSCORE', open, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local wanted, positions = {}, {}
local function want(position)
  if position and not wanted[position] then
    wanted[position] = true
    positions[#positions + 1] = position
  end
end
for _, hint in ipairs(hints) do want(string.match(hint, '^%d+')) end
for _, position in ipairs(ready) do want(position) end
for state in states() do
  for _, position in ipairs(redis.call('ZRANGE', BATCH .. ':state:' .. state, 0, -1)) do want(position) end
end
for cluster_id in clusters() do want(redis.call('HGET', BATCH .. ':positions', cluster_id)) end
local members = {}
for i, position in ipairs(positions) do members[i] = redis.call('HGET', BATCH .. ':members', position) end
local loads = redis.call('HGETALL', LOADS)
return { head[1], members, hints, ready, redis.call('ZCOUNT', open, '-inf', now), later[2] or '', loads }`,
});

const COMMIT = script('batches.commit', {
  keys: { ...BATCH, ...EVENTS, ...DUE, ...LOADS },
  // biome-ignore format: one name after the other
  args: ['id', 'revision_read', 'revision', 'doc', 'wave', 'wake_at', 'now', 'load', 'running', 'max_running'],
  lists: {
    events: ['seq', 'event'],
    members: ['position', 'member', 'from', 'to', 'wave', 'turn'],
    handled: ['hint'],
  },
  lua: `${INDEX}
if redis.call('HGET', BATCH, 'revision') ~= revision_read then return 0 end
if max_running ~= '' then
  local total = tonumber(running)
  local loads = redis.call('HGETALL', LOADS)
  for i = 1, #loads, 2 do
    if loads[i] ~= id then total = total + cjson.decode(loads[i + 1]).running end
  end
  if total > tonumber(max_running) then return 0 end
end
${EVENTS_LUA.check}
redis.call('ZREM', DUE, 'batch:' .. id)
redis.call('HSET', BATCH, 'revision', revision, 'wave', wave, 'doc', doc)
${EVENTS_LUA.add}
for position, member, from, to, wave, turn in members() do index(position, member, from, to, wave, turn) end
local hints = BATCH .. ':hints'
for hint in handled() do redis.call('SREM', hints, hint) end
if load == '' then redis.call('HDEL', LOADS, id) else redis.call('HSET', LOADS, id, load) end
if wake_at == '' then redis.call('DEL', hints)
elseif redis.call('EXISTS', hints) == 1 then redis.call('ZADD', DUE, now, 'batch:' .. id)
else redis.call('ZADD', DUE, wake_at, 'batch:' .. id) end
${EVENTS_LUA.tell}
return 1`,
});

const LOOKED = script('batches.looked', {
  keys: { ...BATCH, ...DUE },
  args: ['id', 'revision', 'wake_at'],
  lists: { handled: ['hint'] },
  lua: `
for hint in handled() do redis.call('SREM', BATCH .. ':hints', hint) end
if redis.call('HGET', BATCH, 'revision') ~= revision then return end
if redis.call('EXISTS', BATCH .. ':hints') == 1 then return end
if redis.call('ZREM', DUE, 'batch:' .. id) == 1 then redis.call('ZADD', DUE, wake_at, 'batch:' .. id) end`,
});

const FORGET = script('batches.forget', {
  keys: BATCHES,
  args: ['before'],
  lists: { looked_at: ['id'] },
  lua: `
local count = 0
for id in looked_at() do
  local key = PREFIX .. ':batch:' .. id
  local doc = redis.call('HGET', key, 'doc')
  local batch = doc and cjson.decode(doc)
  if batch and (batch.state.ended or tonumber(before)) < tonumber(before) then
    local parts = { '', ':members', ':positions', ':hints', ':events' }
    for _, state in ipairs({ ${MEMBER_STATES.map((state) => `'${state}'`).join(', ')} }) do parts[#parts + 1] = ':state:' .. state end
    for wave = 1, #batch.waves do parts[#parts + 1] = ':open:' .. (wave - 1) end
    for _, part in ipairs(parts) do redis.call('UNLINK', key .. part) end
    redis.call('ZREM', PREFIX .. ':batches:' .. batch.tenant_id, id)
    redis.call('ZREM', BATCHES, id)
    count = count + 1
  end
end
return count`,
});

export class RedisBatches extends RedisPart implements BatchStore {
  async create(batch: Batch, members: readonly Member[], event: BatchEvent, wake_at: Instant) {
    const { id, tenant_id, created } = batch;
    const verdict = await this.port.run(CREATE, {
      ...{ id, tenant_id, created, wake_at },
      doc: JSON.stringify(batch),
      event: eventField(event),
      members: members.map((member) => ({
        ...rowOf(member),
        state: member.state.name,
        cluster_id: member.cluster_id,
      })),
    });
    return verdict as 'begun' | 'duplicate';
  }

  get(id: string) {
    return this.port.doc<Batch>('batch', id);
  }

  async list(tenant_id: string, page: PageRequest) {
    const { items, next_marker } = await this.port.newestFirst(this.port.key('batches', tenant_id), page);
    return { items: await this.port.docs<Batch>('batch', items), next_marker };
  }

  async page(page: PageRequest) {
    const { items, next_marker } = await this.port.idsAfter(this.port.key('batches'), page);
    return { items: await this.port.docs<Batch>('batch', items), next_marker };
  }

  async members(id: string, { limit, marker, state }: MembersRequest): Promise<Page<Member>> {
    const first = marker === null ? 0 : Number(marker) + 1;
    const key = (...parts: readonly string[]) => this.port.key('batch', id, ...parts);
    const positions =
      state === null
        ? Array.from({ length: limit + 1 }, (_, index) => String(first + index))
        : await this.port.ask((redis) =>
            redis.zrangebyscore(key('state', state), first, '+inf', 'LIMIT', 0, limit + 1),
          );
    if (positions.length === 0) return { items: [], next_marker: null };
    const docs = await this.port.ask((redis) => redis.hmget(key('members'), ...positions));
    const found = docs.flatMap((doc) => (doc === null ? [] : [JSON.parse(doc) as Member]));
    const items = found.slice(0, limit);
    const last = items.at(-1);
    return { items, next_marker: found.length > limit && last ? String(last.position) : null };
  }

  async load(id: string, { now, states, cluster_ids }: BatchWant): Promise<LoadedBatch | null> {
    const wanted = { id, now, chunk: BATCH_CHUNK, states, clusters: cluster_ids };
    const answer = await this.port.run(LOAD, wanted);
    if (answer === null) return null;
    const [doc, members, hints, ready, ready_count, next_ready, loads] = answer as [
      string,
      readonly string[],
      readonly string[],
      readonly string[],
      number,
      string,
      readonly string[] | Readonly<Record<string, string>>,
    ];
    const others = (Array.isArray(loads) ? loads.filter((_, index) => index % 2 === 1) : Object.values(loads))
      .map((load) => JSON.parse(load as string) as Load)
      .filter((load) => load.batch_id !== id);
    return {
      batch: JSON.parse(doc) as Batch,
      members: members.map((member) => JSON.parse(member) as Member),
      hints,
      ready: ready.map(Number),
      ready_count,
      next_ready: next_ready === '' ? null : Number(next_ready),
      others,
    };
  }

  async commit({ batch, members, events, hints, load, wake_at, now, max_concurrent_total }: BatchCommit) {
    const { id, revision, wave } = batch;
    const done = await this.port.run(COMMIT, {
      ...{ id, revision_read: revision - 1, revision, wave, wake_at, now },
      doc: JSON.stringify(batch),
      load: load && JSON.stringify(load),
      running: load?.running ?? 0,
      max_running: max_concurrent_total,
      events: eventRows(events),
      members: members.map(({ before, after }) => ({
        ...rowOf(after),
        from: before.state.name,
        to: after.state.name,
      })),
      handled: hints,
    });
    return done === 1 ? 'committed' : 'conflict';
  }

  async looked({ id, revision }: Batch, hints: readonly string[], wake_at: Instant) {
    await this.port.run(LOOKED, { id, revision, wake_at, handled: hints });
  }

  async forget(before: Instant, page: PageRequest): Promise<Forgotten> {
    const { items, next_marker } = await this.port.idsAfter(this.port.key('batches'), page);
    const count = await this.port.run(FORGET, { before, looked_at: items });
    return { count: count as number, next_marker };
  }

  events(id: string, after_seq: number, request: EventsRequest): Promise<readonly BatchEvent[]> {
    return this.port.events('batch', id, after_seq, request);
  }
}

/** A member, its wave, and when its turn comes; null where there is none. */
function rowOf(member: Member) {
  const turn = isOpen(member) ? readyAt(member) : null;
  return { position: member.position, member: JSON.stringify(member), wave: member.wave ?? null, turn };
}
