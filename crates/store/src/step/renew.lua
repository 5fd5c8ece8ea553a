#!lua flags=allow-oom
-- renew: a heartbeat; the lease lasts from now.
-- KEYS  1 job:<id> (and nothing else is touched; a sweep corrects the score in running:<task>)
-- ARGV  1 now or ''   2 token   3 lease ms
-- Reply {'ok', lease end} | {'cancelled', lease end} | {'lost'} | {'start'}: see step start
-- Repeat: renews again.
local values = redis.call('HMGET', KEYS[1], 'status', 'lease', 'leaseUntil', 'external')
if values[2] ~= ARGV[2] then return { 'lost' } end
if values[1] == 'cancelled' then return { 'cancelled', tonumber(values[3]) } end
if values[1] == 'pending' and values[4] then return { 'start' } end
if values[1] ~= 'processing' then return { 'lost' } end
local lease = tonumber(values[4] or ARGV[3])
local lease_until = clock(ARGV[1]) + lease
redis.call('HSET', KEYS[1], 'leaseUntil', int(lease_until), 'leaseMs', int(lease))
return { 'ok', lease_until }
