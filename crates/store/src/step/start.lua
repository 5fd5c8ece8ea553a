#!lua flags=allow-oom
-- start: the first report of an external job starts its one attempt.
-- KEYS  1 still:1   2 still:2
-- ARGV  1 now or ''   2 random   3 id   4 token
-- Reply {'started'} | {'not'}: it has started already, was cancelled, or has ended | {'late', code}: it was ended, since its
--       time was up
-- Repeat: finds it started.
local prefix = string.sub(KEYS[1], 1, -8)
local random, id, token = ARGV[2], ARGV[3], ARGV[4]
local job = load_job(prefix .. 'job:' .. id, id)
if not job or not is_unstarted(job, token) then return { 'not' } end
local now = clock(ARGV[1])
local code = end_if_late(prefix, job, now, random)
if code then return { 'late', code } end
redis.call('ZREM', prefix .. 'later', id)
-- Its place counts among all of its task. Whether that has a limit only claims know: whoever may wait for the place is woken.
job.limited = 1
start_attempt(prefix, job, now, random, token, job.external)
return { 'started' }
