#!lua flags=allow-oom
-- settle: what came of deliveries that a courier claimed.
-- KEYS  1 still:1   2 still:2
-- ARGV  1 now or ''   2 the most dead letters of an owner here   3 how long a dead letter is kept, ms
--       4… of each delivery, none of them twice: id, token, delivered | retry | dead | postponed, ms until it is due again,
--       what there is to say of the attempt (JSON) or '' if there was none
-- Reply of each: 'settled', or 'lost': another courier has it, or it is gone.
-- Repeat: each is recognised by its token.
local prefix = string.sub(KEYS[1], 1, -8)
local now, most, retention = clock(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local due = prefix .. 'due'
-- What all of them change together: what is due again, with its time before it; what is due no more; bodies that nobody needs.
local again, over, unneeded = {}, {}, {}

local function ask(id)
  return redis.call('HMGET', prefix .. 'delivery:' .. id, 'token', 'owner', 'settledBy', 'history', 'targets')
end

local function settle(known, id, token, how, after, attempt)
  if not known[2] then return 'lost' end
  if known[1] ~= token then return known[3] == token and 'settled' or 'lost' end

  local key, job = prefix .. 'delivery:' .. id, job_of(id)
  local body = prefix .. 'body:' .. job
  local changes = { 'settledBy', token }
  if attempt ~= '' then changes[3], changes[4] = 'history', with_attempt(known[4] or '', attempt) end
  if how == 'postponed' or how == 'retry' then
    local at = int(now + after)
    if how == 'retry' then redis.call('HINCRBY', key, 'tries', 1) end
    redis.call('HSET', key, 'dueAt', at, unpack(changes))
    redis.call('HDEL', key, 'token')
    redis.call('PEXPIRE', key, int(DELIVERY_TTL))
    redis.call('PEXPIRE', body, int(DELIVERY_TTL))
    again[#again + 1] = at
    again[#again + 1] = id
    return 'settled'
  end
  redis.call('HSET', key, 'status', how, 'settledAt', int(now), unpack(changes))
  over[#over + 1] = id
  if how == 'dead' then
    -- With its secret, for a replay.
    redis.call('HDEL', key, 'token', 'dueAt')
    bury(prefix, known[2], id, now, most, retention)
  else
    redis.call('HDEL', key, 'token', 'dueAt', 'secret')
    -- Told of as long as its job is; a moment longer, so that the repeat of this call is known.
    redis.call('PEXPIRE', key, int(math.max(redis.call('PTTL', prefix .. 'job:' .. job), 60000)))
    if not is_needed(prefix, job, known[5]) then unneeded[#unneeded + 1] = body end
  end
  return 'settled'
end

local known, reply = {}, {}
for at = 4, #ARGV, 5 do known[at] = ask(ARGV[at]) end
for at = 4, #ARGV, 5 do
  reply[#reply + 1] = settle(known[at], ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3]), ARGV[at + 4])
end
if #again > 0 then redis.call('ZADD', due, unpack(again)) end
if #over > 0 then redis.call('ZREM', due, unpack(over)) end
if #unneeded > 0 then redis.call('DEL', unpack(unneeded)) end
return reply
