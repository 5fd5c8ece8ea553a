#!lua flags=allow-oom
-- delete: forgets a job that has ended, as its expiry would. What its owner's feed told stays, and so does the record of its
-- Idempotency-Key, which then says that the job is gone.
-- KEYS  1 still:1   2 still:2
-- ARGV  1 id   2 owner   3 token of the call
-- Reply {'ok'} | {'absent'}: no such job, or another owner's | {'living', status}
-- Repeat: recognised by the token, for some minutes.
local prefix = string.sub(KEYS[1], 1, -8)
local id, owner, token = ARGV[1], ARGV[2], ARGV[3]
local deleted = prefix .. 'deleted:' .. id
local REMEMBERED = 10 * 60 * 1000

local job = load_job(prefix .. 'job:' .. id, id)
if not job then
  if redis.call('GET', deleted) ~= token then return { 'absent' } end
  redis.call('SET', deleted, token, 'PX', REMEMBERED)
  return { 'ok' }
end
if job.owner ~= owner then return { 'absent' } end
if not is_terminal(job.status) then return { 'living', job.status } end

-- A cancelled attempt may not have stopped yet.
leave_place(prefix, job)
redis.call('DEL', job.key, prefix .. 'log:' .. id)
redis.call('ZREM', prefix .. 'jobsof:' .. owner, id)
redis.call('ZREM', prefix .. 'failedof:' .. owner, id)
redis.call('ZREM', prefix .. 'expiry', owner .. ':' .. id)
redis.call('SET', deleted, token, 'PX', REMEMBERED)
return { 'ok' }
