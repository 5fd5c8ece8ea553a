#!lua flags=allow-oom
-- followed: somebody follows a job that is cancelled when nobody does.
-- KEYS  1 job:<id> (and nothing else is touched)
-- ARGV  1 now or ''   2 how long the follower goes on at least, ms
-- Reply 1, or 0 if the job is not such a one, or has ended
-- Repeat: harmless.
local job = redis.call('HMGET', KEYS[1], 'status', 'disconnectMs', 'followedUntil')
if not job[2] or is_terminal(job[1]) then return 0 end
local followed_until = clock(ARGV[1]) + tonumber(ARGV[2]) + tonumber(job[2])
if followed_until > tonumber(job[3]) then redis.call('HSET', KEYS[1], 'followedUntil', int(followed_until)) end
return 1
