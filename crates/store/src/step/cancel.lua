#!lua flags=allow-oom
-- cancel: ends a job at once, wherever it stands. A running attempt keeps its token (its later calls hear of the
-- cancellation) and its running place (freed when it stops, or by the sweep when its lease runs out).
-- KEYS  1 still:1   2 still:2
-- ARGV  1 now or ''   2 random   3 id   4 owner   5 token of the call   6 error (JSON)
-- Reply {'ok', status before} | {'absent'}: no such job, or another owner's | {'terminal', status}
-- Repeat: recognised by the token.
local prefix = string.sub(KEYS[1], 1, -8)
local id, token = ARGV[3], ARGV[5]
local job = load_job(prefix .. 'job:' .. id, id)
if not job or job.owner ~= ARGV[4] then return { 'absent' } end
if is_terminal(job.status) then
  touch(job.key, job.owner)
  return was_ended_by(job, token) and { 'ok', '' } or { 'terminal', job.status }
end
local was = job.status
local fields, more = failure(ARGV[6], 'cancelled')
finish(prefix, job, clock(ARGV[1]), ARGV[2], 'cancelled', fields, '', more, token)
return { 'ok', was }
