#!lua flags=allow-oom
-- renew: a heartbeat; the lease lasts from now.
-- KEYS  1 job:<id> (and nothing else is touched; a sweep corrects the score in running:<task>)
-- ARGV  1 now or ''   2 token   3 lease ms
-- Reply {'ok', lease end} | {'cancelled', lease end} | {'lost'}
-- Repeat: renews again.
local values = redis.call('HMGET', KEYS[1], 'status', 'lease', 'leaseUntil')
if values[2] ~= ARGV[2] then return { 'lost' } end
if values[1] == 'cancelled' then return { 'cancelled', tonumber(values[3]) } end
if values[1] ~= 'processing' then return { 'lost' } end
local lease_until = clock(ARGV[1]) + tonumber(ARGV[3])
redis.call('HSET', KEYS[1], 'leaseUntil', int(lease_until), 'leaseMs', ARGV[3])
return { 'ok', lease_until }
