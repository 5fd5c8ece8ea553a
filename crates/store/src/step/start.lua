#!lua flags=allow-oom
-- start: the first report of an external job starts its one attempt.
-- KEYS  1 still:1   2 still:2
-- ARGV  1 now or ''   2 random   3 id   4 token
-- Reply {'ok', lease end} | {'cancelled', lease end} | {'lost'}
-- Repeat: finds it started.
local prefix = string.sub(KEYS[1], 1, -8)
local random, id, token = ARGV[2], ARGV[3], ARGV[4]
local job = load_job(prefix .. 'job:' .. id, id)
if not job or job.lease ~= token then return { 'lost' } end
if job.status == 'cancelled' then return { 'cancelled', job.leaseUntil } end
local now = clock(ARGV[1])
if job.status == 'processing' then return { 'ok', job.leaseUntil } end
if not is_unstarted(job, token) or end_if_late(prefix, job, now, random) then return { 'lost' } end
redis.call('ZREM', prefix .. 'later', id)
start_attempt(prefix, job, now, random, token, job.external)
return { 'ok', job.leaseUntil }
