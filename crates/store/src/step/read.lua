#!lua flags=no-writes
-- read: a page of a job's log after some seq, with what tells whether that place is still in its history.
-- KEYS  1 job:<id>   2 log:<id> (and nothing else is touched)
-- ARGV  1 seq   2 most bytes (one entry is always given)
-- Reply {} : no such job
--       | {status, seq, mark, first entry's head or '', mark at the seq asked for or '', entries…}
local job = redis.call('HMGET', KEYS[1], 'status', 'seq', 'mark')
if not job[1] then return {} end
-- Any number may be asked for; what lies past the end is no more than past the end, and stays an exact number.
local after = math.min(tonumber(ARGV[1]), tonumber(job[2]) + 1)
return page(KEYS[2], after, tonumber(ARGV[2]), job)
