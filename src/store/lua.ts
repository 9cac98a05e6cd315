/**
 * Returns a cluster as one JSON text: its `doc`, when it was updated, its task and version, and its
 * instances. If each field were a reply of its own, a client would need more time for them than Redis needs
 * to find and join them here.
 */
const CLUSTER_TEXT = `
local function clusterText(key)
  local held = redis.call('HMGET', key, 'doc', 'updated', 'members', 'task', 'upgrade', 'version_id', 'version')
  if not held[1] then return nil end
  local instances = {}
  for id in string.gmatch(held[3] or '', '%S+') do
    local of = redis.call('HMGET', key, 'instance:' .. id, 'task:' .. id, 'report:' .. id, 'heard:' .. id, 'told:' .. id)
    for i = 1, 4 do of[i] = of[i] or 'null' end
    of[5] = of[5] and cjson.encode(of[5]) or 'null'
    instances[#instances + 1] = '[' .. table.concat(of, ',') .. ']'
  end
  local state = cjson.encode({ held[4], held[5] or '', held[6], held[7] })
  return table.concat({ '[' .. held[1], held[2], state, '[' .. table.concat(instances, ',') .. ']]' }, ',')
end`;

/**
 * The atomic steps on Redis.
 *
 * - R1: every script may run twice with the same arguments and the same result, because a client that has
 *   lost the answer asks again.
 * - R2: no script ends half-way. Redis keeps what a script wrote before an error. So a script checks
 *   everything that could fail before its first write: types of keys (`guarded`), a revision, the numbers of
 *   events.
 * - R3: a Redis that is full (`maxmemory`) takes nothing new, and lets work under way continue. It refuses a
 *   script at the script's first write if that write could need memory, and never afterwards. So a script
 *   that must continue begins with a command that frees memory.
 * - R4: no script uses `unpack` on a list of unlimited length: Lua refuses some 8,000 values.
 *
 * The keys, all below one prefix:
 *
 * | key | type | holds |
 * |---|---|---|
 * | `catalogue` | hash | `revision`, `doc`; per datastore, under its id, its versions |
 * | `catalogue:versions` | set | ids of all versions |
 * | `uses:<version>` | set | who uses the version: `cluster:<id>` of clusters that have it, and `upgrade:<id>` of active upgrades from it or to it |
 * | `cluster:<id>` | hash | `doc` (what never changes), `datastore`, `task`, `upgrade`, `version_id`, `version`, `updated`, `members` (instance ids in creation order, separated by blanks); per instance `instance:<id>` (what never changes), `task:<id>`, `report:<id>`, `sent:<id>`, `heard:<id>`, `told:<id>` |
 * | `instance:<id>` | string | the id of the instance's cluster |
 * | `clusters` | sorted set | ids of all clusters, in order of id |
 * | `clusters:<tenant>` | sorted set | a tenant's cluster ids, in order of id |
 * | `cluster-name:<tenant>:<name>` | sorted set | cluster ids by creation |
 * | `build:<cluster>` | string | the build order, until the cluster is built or grown |
 * | `joined:<cluster>` | hash | until the cluster is built or grown: ids of external agents, when each has asked, and by `<instance>` where it serves |
 * | `upgrade:<id>` | hash | `revision`, `cluster`, `state`, `uses` (ids of versions), `doc` |
 * | `upgrade:<id>:events` | stream | entry `<seq>-0` for event number seq; the rest of the event as JSON |
 * | `upgrades:<cluster>` | sorted set | upgrade ids by creation |
 * | `steps:<manager>:<kind>` | list | the latest durations of the manager's steps, in milliseconds |
 * | `due` | sorted set | `upgrade:<id>`, `cluster:<id>` and `batch:<id>` by the time of their next check |
 * | `idempotency:<tenant>:<key>` | hash | `fingerprint`, `operation`, `claim`, `until`, `answer` of a request, for a day |
 * | `installation` | string | the id of the installation |
 * | `keys` | hash | instances' keys, and under `join:<cluster>` the key that external agents join with; all encrypted |
 * | `untold` | hash | upgrades with notifications to come, and the last event that was notified |
 * | `duty:<name>` | string | the process that has the duty now |
 * | `casts`, `casts:at` | hash, sorted set | casts that the bus has not confirmed yet, and since when |
 */
export const SCRIPTS = {
  /** KEYS catalogue, catalogue:versions · ARGV prefix, revision read, revision, doc, number unused, number of versions, unused id …, version id …, datastore id and its versions … */
  putCatalogue: {
    keys: ['hash', 'set'],
    lua: `
if (redis.call('HGET', KEYS[1], 'revision') or '0') ~= ARGV[2] then return { 'conflict' } end
local at = 7
for _ = 1, tonumber(ARGV[5]) do
  local users = redis.call('SMEMBERS', ARGV[1] .. ':uses:' .. ARGV[at])
  if #users > 0 then return { 'in_use', ARGV[at], users } end
  at = at + 1
end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'revision', ARGV[3], 'doc', ARGV[4])
for _ = 1, tonumber(ARGV[6]) do
  redis.call('SADD', KEYS[2], ARGV[at])
  at = at + 1
end
for i = at, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
return { 'put' }`,
  },

  /** KEYS cluster, tenant's clusters, name, build, due, casts, casts:at, clusters, catalogue:versions, uses, keys · ARGV id, doc, version_id, version, created, order, due_at, cast_id, cast, max clusters, members, datastore_id, number of keys, id of a key and the key …, instance key, doc, task, id … */
  createCluster: {
    keys: ['hash', 'zset', 'zset', 'string', 'zset', 'hash', 'zset', 'zset', 'set', 'set', 'hash'],
    lua: `
if redis.call('EXISTS', KEYS[1]) == 1 then return 'taken' end
if ARGV[10] ~= '' and redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[10]) then return 'full' end
if redis.call('SISMEMBER', KEYS[9], ARGV[3]) == 0 then return 'no_version' end
redis.call('HSET', KEYS[1], 'doc', ARGV[2], 'task', 'BUILDING', 'version_id', ARGV[3], 'version', ARGV[4], 'updated', ARGV[5], 'members', ARGV[11], 'datastore', ARGV[12])
redis.call('SADD', KEYS[10], 'cluster:' .. ARGV[1])
redis.call('ZADD', KEYS[2], 0, ARGV[1])
redis.call('ZADD', KEYS[8], 0, ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[5], ARGV[1])
redis.call('SET', KEYS[4], ARGV[6])
redis.call('ZADD', KEYS[5], ARGV[7], 'cluster:' .. ARGV[1])
redis.call('HSET', KEYS[6], ARGV[8], ARGV[9])
redis.call('ZADD', KEYS[7], ARGV[5], ARGV[8])
local at = 14 + 2 * tonumber(ARGV[13])
for i = 14, at - 1, 2 do redis.call('HSET', KEYS[11], ARGV[i], ARGV[i + 1]) end
for i = at, #ARGV, 4 do
  redis.call('SET', ARGV[i], ARGV[1])
  redis.call('HSET', KEYS[1], 'instance:' .. ARGV[i + 3], ARGV[i + 1], 'task:' .. ARGV[i + 3], ARGV[i + 2])
end
return 'created'`,
  },

  /** KEYS cluster, joined · ARGV agent id, endpoint, sent, instance id … */
  joinCluster: {
    keys: ['hash', 'hash'],
    lua: `
local task = redis.call('HGET', KEYS[1], 'task')
if task ~= 'BUILDING' and task ~= 'GROWING_CLUSTER' then return { 'full' } end
local mine = redis.call('HGET', KEYS[2], 'agent:' .. ARGV[1])
if tonumber(ARGV[3]) < tonumber(redis.call('HGET', KEYS[2], 'sent:' .. ARGV[1]) or 0) then return { 'stale' } end
for i = 4, #ARGV do
  if mine then break end
  if redis.call('HSETNX', KEYS[2], ARGV[i], ARGV[2]) == 1 then
    mine = ARGV[i]
    redis.call('HSET', KEYS[2], 'agent:' .. ARGV[1], mine)
  end
end
if not mine then return { 'full' } end
redis.call('HSET', KEYS[2], mine, ARGV[2], 'sent:' .. ARGV[1], ARGV[3])
return { 'joined', mine, redis.call('HGET', KEYS[2], ARGV[4]) or '' }`,
  },

  /** KEYS cluster, due, build, joined · ARGV id, since, updated, instance task, instance id … */
  finishBuild: {
    keys: ['hash', 'zset', 'string', 'hash'],
    lua: `
local held = redis.call('HMGET', KEYS[1], 'task', 'updated')
if held[1] ~= 'BUILDING' and held[1] ~= 'GROWING_CLUSTER' then return 0 end
if held[2] ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[2], 'cluster:' .. ARGV[1])
redis.call('DEL', KEYS[3], KEYS[4])
redis.call('HSET', KEYS[1], 'task', 'NONE', 'updated', ARGV[3])
for i = 5, #ARGV do redis.call('HSET', KEYS[1], 'task:' .. ARGV[i], ARGV[4]) end
return 1`,
  },

  /** KEYS cluster, build, due, casts, casts:at, keys · ARGV id, seen, updated, order, due_at, cast_id, cast, number of keys, id of a key and the key …, instance key, doc, task, id … */
  beginGrow: {
    keys: ['hash', 'string', 'zset', 'hash', 'zset', 'hash'],
    lua: `
local held = redis.call('HMGET', KEYS[1], 'task', 'updated', 'members')
if not held[1] then return '' end
if held[1] ~= 'NONE' then return held[1] end
if held[2] ~= ARGV[2] then return 'changed' end
local members = held[3]
local at = 9 + 2 * tonumber(ARGV[8])
for i = 9, at - 1, 2 do redis.call('HSET', KEYS[6], ARGV[i], ARGV[i + 1]) end
for i = at, #ARGV, 4 do
  redis.call('SET', ARGV[i], ARGV[1])
  redis.call('HSET', KEYS[1], 'instance:' .. ARGV[i + 3], ARGV[i + 1], 'task:' .. ARGV[i + 3], ARGV[i + 2])
  members = members .. ' ' .. ARGV[i + 3]
end
redis.call('HSET', KEYS[1], 'task', 'GROWING_CLUSTER', 'updated', ARGV[3], 'members', members)
redis.call('SET', KEYS[2], ARGV[4])
redis.call('ZADD', KEYS[3], ARGV[5], 'cluster:' .. ARGV[1])
redis.call('HSET', KEYS[4], ARGV[6], ARGV[7])
redis.call('ZADD', KEYS[5], ARGV[3], ARGV[6])
return 'begun'`,
  },

  /** KEYS cluster, due, casts, casts:at · ARGV id, seen, updated, due_at, cast_id, cast, instance task, instance id … */
  beginShrink: {
    keys: ['hash', 'zset', 'hash', 'zset'],
    lua: `
local held = redis.call('HMGET', KEYS[1], 'task', 'updated')
if not held[1] then return '' end
if held[1] ~= 'NONE' then return held[1] end
if held[2] ~= ARGV[2] then return 'changed' end
redis.call('ZREM', KEYS[2], 'cluster:' .. ARGV[1])
redis.call('HSET', KEYS[1], 'task', 'SHRINKING_CLUSTER', 'updated', ARGV[3])
for i = 8, #ARGV do redis.call('HSET', KEYS[1], 'task:' .. ARGV[i], ARGV[7]) end
redis.call('ZADD', KEYS[2], ARGV[4], 'cluster:' .. ARGV[1])
redis.call('HSET', KEYS[3], ARGV[5], ARGV[6])
redis.call('ZADD', KEYS[4], ARGV[3], ARGV[5])
return 'begun'`,
  },

  /** KEYS cluster, due, keys · ARGV id, since, updated, members that stay, task of those spared, their number, their ids …, key and id of those removed … */
  finishShrink: {
    keys: ['hash', 'zset', 'hash'],
    lua: `
local held = redis.call('HMGET', KEYS[1], 'task', 'updated')
if held[1] ~= 'SHRINKING_CLUSTER' or held[2] ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[2], 'cluster:' .. ARGV[1])
local at = 7 + tonumber(ARGV[6])
for i = 7, at - 1 do redis.call('HSET', KEYS[1], 'task:' .. ARGV[i], ARGV[5]) end
for i = at, #ARGV, 2 do
  redis.call('DEL', ARGV[i])
  redis.call('HDEL', KEYS[3], ARGV[i + 1])
  for _, field in ipairs({ 'instance:', 'task:', 'report:', 'sent:', 'heard:', 'told:' }) do
    redis.call('HDEL', KEYS[1], field .. ARGV[i + 1])
  end
end
redis.call('HSET', KEYS[1], 'task', 'NONE', 'updated', ARGV[3], 'members', ARGV[4])
return 1`,
  },

  /** KEYS cluster, due, casts, casts:at · ARGV id, updated, due_at, cast_id, cast */
  beginDelete: {
    keys: ['hash', 'zset', 'hash', 'zset'],
    lua: `
local task = redis.call('HGET', KEYS[1], 'task')
if not task then return '' end
if task ~= 'NONE' and task ~= 'BUILDING' then return task end
redis.call('ZREM', KEYS[2], 'cluster:' .. ARGV[1])
redis.call('HSET', KEYS[1], 'task', 'DELETING', 'updated', ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[3], 'cluster:' .. ARGV[1])
redis.call('HSET', KEYS[3], ARGV[4], ARGV[5])
redis.call('ZADD', KEYS[4], ARGV[2], ARGV[4])
return 'begun'`,
  },

  /** KEYS cluster, tenant's clusters, name, build, due, upgrades, joined, clusters, keys · ARGV id, prefix, number of instances, their keys …, ids of keys … */
  removeCluster: {
    keys: ['hash', 'zset', 'zset', 'string', 'zset', 'zset', 'hash', 'zset', 'hash'],
    lua: `
if redis.call('HGET', KEYS[1], 'task') ~= 'DELETING' then return 0 end
redis.call('SREM', ARGV[2] .. ':uses:' .. redis.call('HGET', KEYS[1], 'version_id'), 'cluster:' .. ARGV[1])
for _, upgrade in ipairs(redis.call('ZRANGE', KEYS[6], 0, -1)) do
  local key = ARGV[2] .. ':upgrade:' .. upgrade
  redis.call('DEL', key, key .. ':events')
end
local at = 4 + tonumber(ARGV[3])
for i = 4, at - 1 do redis.call('DEL', ARGV[i]) end
for i = at, #ARGV do redis.call('HDEL', KEYS[9], ARGV[i]) end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[8], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[5], 'cluster:' .. ARGV[1])
redis.call('DEL', KEYS[1], KEYS[4], KEYS[6], KEYS[7])
return 1`,
  },

  /** KEYS instance · ARGV prefix, instance id, sent, now, report, clock step */
  heartbeat: {
    keys: ['string'],
    lua: `
local cluster_id = redis.call('GET', KEYS[1])
if not cluster_id then return false end
local cluster = ARGV[1] .. ':cluster:' .. cluster_id
local held = redis.call('HMGET', cluster, 'task', 'upgrade', 'sent:' .. ARGV[2])
if not held[1] then return false end
local fresh = 0
local behind = tonumber(held[3] or ARGV[3]) - tonumber(ARGV[3])
if behind <= 0 or behind >= tonumber(ARGV[6]) then
  fresh = 1
  redis.call('HDEL', cluster, 'sent:' .. ARGV[2])
  redis.call('HSET', cluster, 'report:' .. ARGV[2], ARGV[5], 'sent:' .. ARGV[2], ARGV[3], 'heard:' .. ARGV[2], ARGV[4])
end
return { fresh, cluster_id, held[1], held[2] or '' }`,
  },

  /** KEYS cluster, upgrade, events, upgrades, due, casts, casts:at, untold, catalogue:versions, uses of from, uses of to · ARGV id, cluster_id, created, doc, event, wake_at, cast id, cast, version_id of the goal, versions in use, state, notifies ('1' or '') */
  begin: {
    keys: ['hash', 'hash', 'stream', 'zset', 'zset', 'hash', 'zset', 'hash', 'set', 'set', 'set'],
    lua: `
if redis.call('EXISTS', KEYS[2]) == 1 then return { 'duplicate' } end
local held = redis.call('HMGET', KEYS[1], 'task', 'upgrade', 'updated')
if not held[1] then return { 'missing' } end
if held[1] ~= 'NONE' then return { 'busy', held[1], held[2] or '' } end
if tonumber(ARGV[3]) < tonumber(held[3]) then return { 'changed' } end
if redis.call('SISMEMBER', KEYS[9], ARGV[9]) == 0 then return { 'no_version' } end
redis.call('HSET', KEYS[1], 'task', 'UPGRADING_CLUSTER', 'upgrade', ARGV[1], 'updated', ARGV[3])
redis.call('HSET', KEYS[2], 'revision', 1, 'cluster', ARGV[2], 'uses', ARGV[10], 'state', ARGV[11], 'doc', ARGV[4])
redis.call('SADD', KEYS[10], 'upgrade:' .. ARGV[1])
redis.call('SADD', KEYS[11], 'upgrade:' .. ARGV[1])
redis.call('XADD', KEYS[3], '1-0', 'event', ARGV[5])
redis.call('ZADD', KEYS[4], ARGV[3], ARGV[1])
redis.call('ZADD', KEYS[5], ARGV[6], 'upgrade:' .. ARGV[1])
if ARGV[7] ~= '' then
  redis.call('HSET', KEYS[6], ARGV[7], ARGV[8])
  redis.call('ZADD', KEYS[7], ARGV[3], ARGV[7])
end
if ARGV[12] == '1' then redis.call('HSET', KEYS[8], ARGV[1], 0) end
return { 'begun' }`,
  },

  /** KEYS keys · ARGV id, key */
  replaceKey: {
    keys: ['hash'],
    lua: `
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1`,
  },

  /** KEYS duty · ARGV holder, milliseconds */
  holdDuty: {
    keys: ['string'],
    lua: `
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`,
  },

  /** KEYS casts · ARGV prefix, before, how many are enough, cluster id … */
  forgetUpgrades: {
    keys: ['hash'],
    lua: `
local prefix, before = ARGV[1], tonumber(ARGV[2])
local function isOver(id)
  local doc = redis.call('HGET', prefix .. ':upgrade:' .. id, 'doc')
  local upgrade = doc and cjson.decode(doc)
  if not upgrade or (upgrade.state.ended or before) >= before then return false end
  if redis.call('HEXISTS', KEYS[1], id) == 1 then return false end
  return upgrade.batch == cjson.null or redis.call('EXISTS', prefix .. ':batch:' .. upgrade.batch.id) == 0
end
local count, looked = 0, 0
for i = 4, #ARGV do
  local upgrades = prefix .. ':upgrades:' .. ARGV[i]
  local old = redis.call('ZRANGEBYSCORE', upgrades, '-inf', '(' .. ARGV[2])
  local latest = #old > 0 and redis.call('HGET', prefix .. ':cluster:' .. ARGV[i], 'upgrade')
  for _, id in ipairs(old) do
    if count < tonumber(ARGV[3]) and id ~= latest and isOver(id) then
      local key = prefix .. ':upgrade:' .. id
      redis.call('DEL', key, key .. ':events')
      redis.call('ZREM', upgrades, id)
      count = count + 1
    end
  end
  looked = looked + 1
  if count >= tonumber(ARGV[3]) then break end
end
return { count, looked }`,
  },

  /** ARGV prefix, cluster id … */
  clusters: {
    keys: [],
    lua: `${CLUSTER_TEXT}
local texts = {}
for i = 2, #ARGV do texts[#texts + 1] = clusterText(ARGV[1] .. ':cluster:' .. ARGV[i]) end
return texts`,
  },

  /** ARGV prefix, cluster id */
  seeCluster: {
    keys: [],
    lua: `${CLUSTER_TEXT}
return { clusterText(ARGV[1] .. ':cluster:' .. ARGV[2]) or false, redis.call('HGET', ARGV[1] .. ':catalogue', 'revision') }`,
  },

  /** KEYS upgrade · ARGV prefix */
  load: {
    keys: ['hash'],
    lua: `${CLUSTER_TEXT}
local held = redis.call('HMGET', KEYS[1], 'doc', 'cluster')
if not held[1] then return false end
local cluster = ARGV[1] .. ':cluster:' .. held[2]
local datastore = redis.call('HGET', cluster, 'datastore') or ''
return { held[1], clusterText(cluster) or false, redis.call('HGET', ARGV[1] .. ':catalogue', datastore) or '[]' }`,
  },

  /**
   * KEYS upgrade, events, cluster, due · ARGV id, revision read, doc, now, wake_at or '', channel,
   * number of events, number of cluster fields, released ('1' or ''), durations to keep of a list,
   * prefix, versions in use from now on, cluster_id, version_id after the release or '', state,
   * batch to hint at or '', its key for hints, hint, look by, seq and event …, field and value …, list and duration …
   */
  commit: {
    keys: ['hash', 'stream', 'hash', 'zset'],
    lua: `
if redis.call('HGET', KEYS[1], 'revision') ~= ARGV[2] then return 0 end
local events = 20
local fields = events + 2 * tonumber(ARGV[7])
local lists = fields + 2 * tonumber(ARGV[8])
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local seq = last and tonumber(string.match(last[1], '^%d+')) or 0
for i = events, fields - 1, 2 do
  seq = seq + 1
  if tonumber(ARGV[i]) ~= seq then return redis.error_reply('EVENTS ' .. seq .. ' is missing') end
end
for i = lists, #ARGV, 2 do redis.call('LLEN', ARGV[i]) end
if ARGV[16] ~= '' then redis.call('SCARD', ARGV[17]) end
local held = redis.call('HMGET', KEYS[3], 'upgrade', 'version_id', 'updated')
local moves = { { 'upgrade:' .. ARGV[1], redis.call('HGET', KEYS[1], 'uses'), ARGV[12] } }
if held[1] == ARGV[1] and ARGV[14] ~= '' then moves[2] = { 'cluster:' .. ARGV[13], held[2], ARGV[14] } end
local uses = ARGV[11] .. ':uses:'
for _, move in ipairs(moves) do
  for id in string.gmatch(move[2] .. ' ' .. move[3], '%S+') do redis.call('SCARD', uses .. id) end
end
redis.call('ZREM', KEYS[4], 'upgrade:' .. ARGV[1])
redis.call('HSET', KEYS[1], 'revision', tonumber(ARGV[2]) + 1, 'state', ARGV[15], 'uses', ARGV[12], 'doc', ARGV[3])
for i = events, fields - 1, 2 do redis.call('XADD', KEYS[2], ARGV[i] .. '-0', 'event', ARGV[i + 1]) end
if held[1] == ARGV[1] then
  for i = fields, lists - 1, 2 do redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
  if ARGV[9] == '1' then
    local updated = tonumber(held[3]) > tonumber(ARGV[4]) and held[3] or ARGV[4]
    redis.call('HSET', KEYS[3], 'task', 'NONE', 'updated', updated)
  end
end
for _, move in ipairs(moves) do
  if move[2] ~= move[3] then
    for id in string.gmatch(move[2], '%S+') do redis.call('SREM', uses .. id, move[1]) end
    for id in string.gmatch(move[3], '%S+') do redis.call('SADD', uses .. id, move[1]) end
  end
end
for i = lists, #ARGV, 2 do
  redis.call('LPUSH', ARGV[i], ARGV[i + 1])
  redis.call('LTRIM', ARGV[i], 0, ARGV[10] - 1)
end
if ARGV[5] ~= '' then redis.call('ZADD', KEYS[4], ARGV[5], 'upgrade:' .. ARGV[1]) end
local look_at = ARGV[16] ~= '' and redis.call('ZSCORE', KEYS[4], 'batch:' .. ARGV[16])
if look_at then
  redis.call('SADD', ARGV[17], ARGV[18])
  if tonumber(look_at) > tonumber(ARGV[19]) then redis.call('ZADD', KEYS[4], ARGV[19], 'batch:' .. ARGV[16]) end
end
if tonumber(ARGV[7]) > 0 then redis.call('PUBLISH', ARGV[6], '') end
return 1`,
  },

  /** KEYS due · ARGV now, limit, lend until */
  takeDue: {
    keys: ['zset'],
    lua: `
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, id in ipairs(ids) do
  redis.call('ZREM', KEYS[1], id)
  redis.call('ZADD', KEYS[1], ARGV[3], id)
end
return ids`,
  },

  /** KEYS due · ARGV item, at */
  defer: {
    keys: ['zset'],
    lua: `
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
return redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])`,
  },

  /** KEYS request · ARGV fingerprint, claim, now, in flight until, time to live */
  beginRequest: {
    keys: ['hash'],
    lua: `
local held = redis.call('HMGET', KEYS[1], 'fingerprint', 'operation', 'claim', 'until', 'answer')
if held[1] and held[1] ~= ARGV[1] then return { 'reused' } end
if held[5] then return { 'answered', held[5] } end
local taken = held[3] and held[3] ~= '' and held[3] ~= ARGV[2]
if taken and tonumber(held[4]) > tonumber(ARGV[3]) then return { 'in_flight' } end
local operation = held[2] or ARGV[2]
redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'operation', operation, 'claim', ARGV[2], 'until', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return { 'begun', operation }`,
  },

  /** KEYS request · ARGV claim, answer or '' */
  endRequest: {
    keys: ['hash'],
    lua: `
if redis.call('HGET', KEYS[1], 'claim') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'until')
redis.call('HSET', KEYS[1], 'claim', '')
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'answer', ARGV[2]) end
return 1`,
  },

  /** KEYS casts:at, casts · ARGV before, limit */
  pendingCasts: {
    keys: ['zset', 'hash'],
    lua: `
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
local casts = {}
for i, id in ipairs(ids) do casts[i] = redis.call('HGET', KEYS[2], id) end
return casts`,
  },

  /** KEYS casts:at, casts · ARGV id … */
  castsConfirmed: {
    keys: ['zset', 'hash'],
    lua: `
for _, id in ipairs(ARGV) do
  redis.call('ZREM', KEYS[1], id)
  redis.call('HDEL', KEYS[2], id)
end
return #ARGV`,
  },
} as const satisfies Record<string, Script>;

export interface Script {
  /** The type of each of KEYS, if the key exists. */
  readonly keys: readonly ('hash' | 'zset' | 'stream' | 'string' | 'set')[];
  readonly lua: string;
}

/**
 * R2: the script as Redis receives it. A key of a wrong type, written by another program, must not make the
 * script end half-way.
 */
export function guarded({ keys, lua }: Script): string {
  const kinds = keys.map((kind) => `'${kind}'`).join(', ');
  return `
for i, kind in ipairs({ ${kinds} }) do
  local held = redis.call('TYPE', KEYS[i]).ok
  if held ~= 'none' and held ~= kind then
    return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. held .. ' and should be a ' .. kind)
  end
end${lua}`;
}
