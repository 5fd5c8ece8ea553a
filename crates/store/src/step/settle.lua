#!lua flags=allow-oom
-- settle: what came of a delivery that a courier claimed.
-- KEYS  1 still:1   2 still:2
-- ARGV  1 now or ''   2 id   3 token   4 delivered | retry | dead | postponed   5 ms until it is due again
--       6 what there is to say of the attempt (JSON), or '' if there was none   7 the most dead letters of an owner here
--       8 how long a dead letter is kept, ms
-- Reply 'settled', or 'lost': another courier has it, or it is gone.
-- Repeat: recognised by the token.
local prefix = string.sub(KEYS[1], 1, -8)
local id, token, how = ARGV[2], ARGV[3], ARGV[4]
local key = prefix .. 'delivery:' .. id
local due = prefix .. 'due'
local now = clock(ARGV[1])
local fields = redis.call('HMGET', key, 'token', 'owner', 'settledBy')
if not fields[2] then return 'lost' end
if fields[1] ~= token then return fields[3] == token and 'settled' or 'lost' end

if ARGV[6] ~= '' then remember(key, ARGV[6]) end
redis.call('HDEL', key, 'token')
redis.call('HSET', key, 'settledBy', token)
if how == 'postponed' or how == 'retry' then
  local at = int(now + tonumber(ARGV[5]))
  if how == 'retry' then redis.call('HINCRBY', key, 'tries', 1) end
  redis.call('HSET', key, 'dueAt', at)
  redis.call('ZADD', due, at, id)
  redis.call('PEXPIRE', key, int(DELIVERY_TTL))
  redis.call('PEXPIRE', prefix .. 'body:' .. job_of(id), int(DELIVERY_TTL))
  return 'settled'
end
redis.call('ZREM', due, id)
redis.call('HSET', key, 'status', how, 'settledAt', int(now))
redis.call('HDEL', key, 'dueAt')
if how == 'dead' then
  -- With its secret, for a replay.
  bury(prefix, fields[2], id, now, tonumber(ARGV[7]), tonumber(ARGV[8]))
else
  redis.call('HDEL', key, 'secret')
  -- Told of as long as its job is; a moment longer, so that the repeat of this call is known.
  local job = redis.call('PTTL', prefix .. 'job:' .. job_of(id))
  redis.call('PEXPIRE', key, int(math.max(job, 60000)))
  free_body(prefix, job_of(id))
end
return 'settled'
