/**
 * The atomic steps on Redis for batches, by the rules of `lua.ts`. The keys, all below one prefix:
 *
 * | key | type | holds |
 * |---|---|---|
 * | `batch:<id>` | hash | `revision`, `wave`, `doc` (the head) |
 * | `batch:<id>:members` | hash | members by position |
 * | `batch:<id>:positions` | hash | positions by cluster id |
 * | `batch:<id>:state:<state>` | sorted set | positions of the members in that state |
 * | `batch:<id>:open:<wave>` | sorted set | positions of the wave's open members, by the time of their turn |
 * | `batch:<id>:hints` | set | `<position>:<revision>` of upgrades that have moved |
 * | `batch:<id>:events` | stream | entry `<seq>-0` for event number seq |
 * | `batches` | sorted set | ids of all batches, in order of id |
 * | `batches:<tenant>` | sorted set | batch ids by creation |
 * | `batch-loads` | hash | by batch id: how many of the places for all batches the batch has and wants |
 */

import { MEMBER_STATES } from '../core/batch/record.ts';
import type { Script } from './lua.ts';

/** Writes a member, and moves its position from one index to another. `base` is the key of the batch. */
const INDEX = `
local function index(base, position, doc, from, to, wave, turn)
  redis.call('HSET', base .. ':members', position, doc)
  if from ~= '' then redis.call('ZREM', base .. ':state:' .. from, position) end
  redis.call('ZADD', base .. ':state:' .. to, position, position)
  if wave == '' then return end
  if turn == '' then redis.call('ZREM', base .. ':open:' .. wave, position)
  else redis.call('ZADD', base .. ':open:' .. wave, turn, position) end
end
`;

export const BATCH_SCRIPTS = {
  /** KEYS batch, events, due, tenant's batches, batches · ARGV id, created, doc, event, wake_at, per member: position, cluster id, doc, state, wave or '', turn or '' */
  createBatch: {
    keys: ['hash', 'stream', 'zset', 'zset', 'zset'],
    lua: `${INDEX}
if redis.call('EXISTS', KEYS[1]) == 1 then return 'duplicate' end
redis.call('HSET', KEYS[1], 'revision', 1, 'wave', 0, 'doc', ARGV[3])
redis.call('XADD', KEYS[2], '1-0', 'event', ARGV[4])
redis.call('ZADD', KEYS[3], ARGV[5], 'batch:' .. ARGV[1])
redis.call('ZADD', KEYS[4], ARGV[2], ARGV[1])
redis.call('ZADD', KEYS[5], 0, ARGV[1])
for i = 6, #ARGV, 6 do
  index(KEYS[1], ARGV[i], ARGV[i + 2], '', ARGV[i + 3], ARGV[i + 4], ARGV[i + 5])
  redis.call('HSET', KEYS[1] .. ':positions', ARGV[i + 1], ARGV[i])
end
return 'begun'`,
  },

  /** KEYS batches · ARGV prefix, before, id … */
  forgetBatches: {
    keys: ['zset'],
    lua: `
local before, count = tonumber(ARGV[2]), 0
for i = 3, #ARGV do
  local base = ARGV[1] .. ':batch:' .. ARGV[i]
  local doc = redis.call('HGET', base, 'doc')
  local batch = doc and cjson.decode(doc)
  if batch and (batch.state.ended or before) < before then
    local keys = { base, base .. ':members', base .. ':positions', base .. ':hints', base .. ':events' }
    for _, state in ipairs({ ${MEMBER_STATES.map((state) => `'${state}'`).join(', ')} }) do keys[#keys + 1] = base .. ':state:' .. state end
    for wave = 1, #batch.waves do keys[#keys + 1] = base .. ':open:' .. (wave - 1) end
    for _, key in ipairs(keys) do redis.call('UNLINK', key) end
    redis.call('ZREM', ARGV[1] .. ':batches:' .. batch.tenant_id, ARGV[i])
    redis.call('ZREM', KEYS[1], ARGV[i])
    count = count + 1
  end
end
return count`,
  },

  /** KEYS batch, loads · ARGV id, now, chunk, number of states, state …, cluster id … */
  loadBatch: {
    keys: ['hash', 'hash'],
    lua: `
local head = redis.call('HMGET', KEYS[1], 'doc', 'wave')
if not head[1] then return false end
local base, now, chunk = KEYS[1], ARGV[2], tonumber(ARGV[3])
local open = base .. ':open:' .. head[2]
local hints = redis.call('SRANDMEMBER', base .. ':hints', chunk)
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
for i = 5, 4 + tonumber(ARGV[4]) do
  for _, position in ipairs(redis.call('ZRANGE', base .. ':state:' .. ARGV[i], 0, -1)) do want(position) end
end
for i = 5 + tonumber(ARGV[4]), #ARGV do want(redis.call('HGET', base .. ':positions', ARGV[i])) end
local members = {}
for i, position in ipairs(positions) do members[i] = redis.call('HGET', base .. ':members', position) end
local loads = redis.call('HGETALL', KEYS[2])
return { head[1], members, hints, ready, redis.call('ZCOUNT', open, '-inf', now), later[2] or '', loads }`,
  },

  /**
   * KEYS batch, events, due, loads · ARGV id, revision read, doc, wave, wake_at or '', now, channel, load or '',
   * in flight, places for all or '', number of events, number of members, then seq and event …, per
   * member: position, doc, state before, state, wave or '', turn or '' …, hint …
   */
  commitBatch: {
    keys: ['hash', 'stream', 'zset', 'hash'],
    lua: `${INDEX}
if redis.call('HGET', KEYS[1], 'revision') ~= ARGV[2] then return 0 end
if ARGV[10] ~= '' then
  local running = tonumber(ARGV[9])
  local loads = redis.call('HGETALL', KEYS[4])
  for i = 1, #loads, 2 do
    if loads[i] ~= ARGV[1] then running = running + cjson.decode(loads[i + 1]).running end
  end
  if running > tonumber(ARGV[10]) then return 0 end
end
local at = 13 + 2 * tonumber(ARGV[11])
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local seq = last and tonumber(string.match(last[1], '^%d+')) or 0
for i = 13, at - 1, 2 do
  seq = seq + 1
  if tonumber(ARGV[i]) ~= seq then return redis.error_reply('EVENTS ' .. seq .. ' is missing') end
end
redis.call('ZREM', KEYS[3], 'batch:' .. ARGV[1])
redis.call('HSET', KEYS[1], 'revision', tonumber(ARGV[2]) + 1, 'wave', ARGV[4], 'doc', ARGV[3])
for i = 13, at - 1, 2 do redis.call('XADD', KEYS[2], ARGV[i] .. '-0', 'event', ARGV[i + 1]) end
for _ = 1, tonumber(ARGV[12]) do
  index(KEYS[1], ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5])
  at = at + 6
end
for i = at, #ARGV do redis.call('SREM', KEYS[1] .. ':hints', ARGV[i]) end
if ARGV[8] == '' then redis.call('HDEL', KEYS[4], ARGV[1])
else redis.call('HSET', KEYS[4], ARGV[1], ARGV[8]) end
if ARGV[5] == '' then redis.call('DEL', KEYS[1] .. ':hints')
elseif redis.call('EXISTS', KEYS[1] .. ':hints') == 1 then redis.call('ZADD', KEYS[3], ARGV[6], 'batch:' .. ARGV[1])
else redis.call('ZADD', KEYS[3], ARGV[5], 'batch:' .. ARGV[1]) end
if tonumber(ARGV[11]) > 0 then redis.call('PUBLISH', ARGV[7], '') end
return 1`,
  },

  /** KEYS batch, due · ARGV id, revision read, wake_at, hint … */
  lookedAtBatch: {
    keys: ['hash', 'zset'],
    lua: `
for i = 4, #ARGV do redis.call('SREM', KEYS[1] .. ':hints', ARGV[i]) end
if redis.call('HGET', KEYS[1], 'revision') ~= ARGV[2] then return 0 end
if redis.call('EXISTS', KEYS[1] .. ':hints') == 1 then return 0 end
if redis.call('ZREM', KEYS[2], 'batch:' .. ARGV[1]) == 0 then return 0 end
return redis.call('ZADD', KEYS[2], ARGV[3], 'batch:' .. ARGV[1])`,
  },
} as const satisfies Record<string, Script>;
