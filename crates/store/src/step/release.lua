#!lua flags=allow-oom
-- release: a worker that shuts down gives an attempt back; it doesn't count, and another worker may start at once.
-- KEYS  1 still:1   2 still:2
-- ARGV  1 now or ''   2 random   3 id   4 token
-- Reply {'ok', lease end, …} | {'cancelled', lease end} | {'lost'} | {'external'}: there is no queue to go back to
-- Repeat: recognised by the token; an attempt that ended otherwise has nothing to give back.
local prefix = string.sub(KEYS[1], 1, -8)
local id, token = ARGV[3], ARGV[4]
local by = token .. ' release'
local job = load_job(prefix .. 'job:' .. id, id)
if not job then return { 'lost' } end
local now = clock(ARGV[1])
local over = over_already(prefix, job, token, now, by)
if over and over[1] ~= 'start' then return over end
if job.external > 0 then return { 'external' } end
retry(prefix, job, now, ARGV[2], '"the worker shut down and gave the attempt back"', nil, by)
return { 'ok', now }
