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

local function ask(key)
  return redis.call('HMGET', key, 'status', 'token', 'owner', 'settledBy', 'history', 'targets', 'keptUntil')
end

local function settle(key, known, id, token, how, after, attempt)
  if known[1] ~= 'pending' or known[2] ~= token then
    return known[4] == token and 'settled' or 'lost'
  end

  local changes = { 'settledBy', token }
  if attempt ~= '' then changes[3], changes[4] = 'history', with_attempt(known[5] or '', attempt) end
  if how == 'postponed' or how == 'retry' then
    local at = int(now + after)
    if how == 'retry' then redis.call('HINCRBY', key, 'tries', 1) end
    redis.call('HSET', key, 'dueAt', at, unpack(changes))
    redis.call('HDEL', key, 'token')
    redis.call('PEXPIRE', key, int(DELIVERY_TTL))
    -- Not sooner: a dead letter of the same job may need it for longer.
    redis.call('PEXPIRE', prefix .. 'body:' .. job_of(id), int(DELIVERY_TTL), 'GT')
    again[#again + 1] = at
    again[#again + 1] = id
    return 'settled'
  end
  over[#over + 1] = id
  if how == 'dead' then
    -- With its secret, for a replay.
    redis.call('HSET', key, 'status', how, 'settledAt', int(now), unpack(changes))
    redis.call('HDEL', key, 'token', 'dueAt')
    bury(prefix, known[3], id, now, most, retention)
  else
    -- Commands are what this costs, so its secret is emptied with the rest, and what has no meaning any more is left.
    redis.call('HSET', key, 'status', how, 'settledAt', int(now), 'secret', '', unpack(changes))
    -- Told of as long as its job is; a moment longer, so that the repeat of this call is known.
    redis.call('PEXPIRE', key, int(math.max((tonumber(known[7]) or 0) - now, 60000)))
    local job = job_of(id)
    if not is_needed(prefix, job, known[6]) then unneeded[#unneeded + 1] = prefix .. 'body:' .. job end
  end
  return 'settled'
end

local keys, known, reply = {}, {}, {}
for at = 4, #ARGV, 5 do
  keys[at] = prefix .. 'delivery:' .. ARGV[at]
  known[at] = ask(keys[at])
end
for at = 4, #ARGV, 5 do
  reply[#reply + 1] = settle(keys[at], known[at], ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3]), ARGV[at + 4])
end
if #again > 0 then redis.call('ZADD', due, unpack(again)) end
if #over > 0 then redis.call('ZREM', due, unpack(over)) end
if #unneeded > 0 then redis.call('DEL', unpack(unneeded)) end
return reply
