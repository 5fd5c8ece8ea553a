#!lua flags=allow-oom
-- replay: a dead letter is to be delivered after all, with the attempts and the time of a new one.
-- KEYS  1 still:1   2 still:2
-- ARGV  1 now or ''   2 id   3 owner
-- Reply 'replayed' | 'absent': no such delivery of this owner | 'delivered': it was
-- Repeat: finds it pending.
local prefix = string.sub(KEYS[1], 1, -8)
local id, owner = ARGV[2], ARGV[3]
local key = prefix .. 'delivery:' .. id
local now = clock(ARGV[1])
local fields = redis.call('HMGET', key, 'owner', 'status')
if fields[1] ~= owner then return 'absent' end
if fields[2] == 'pending' then return 'replayed' end
if fields[2] == 'delivered' then return 'delivered' end
local body = prefix .. 'body:' .. job_of(id)
if redis.call('EXISTS', body) == 0 then return 'absent' end
redis.call('ZREM', prefix .. 'deadof:' .. owner, id)
redis.call('HSET', key, 'status', 'pending', 'tries', '0', 'since', int(now), 'dueAt', int(now))
redis.call('HDEL', key, 'settledAt')
redis.call('PEXPIRE', key, int(DELIVERY_TTL))
redis.call('PEXPIRE', body, int(DELIVERY_TTL), 'GT')
redis.call('ZADD', prefix .. 'due', int(now), id)
ring(prefix, '!due')
return 'replayed'
