#!lua flags=allow-oom
-- end: ends an attempt, with its last reports, and the job with it unless there is to be another attempt.
-- KEYS  1 still:1   2 still:2
-- ARGV  1 now or ''   2 random   3 id   4 token   5 completed | failed | retry   6 result or error (JSON)
--       7 error code or ''   8 1 if the result is too large for the event   and, if there are reports or a number to
--       check,   9 batch number or ''   10 how many of the reports are the batch's own: the others were never sent before
--       11 the last progress among the reports or ''   12 its message   13… reports, pairs: an event's type, and its fields
-- Reply {'ok', lease end, status now, code} | {'cancelled', lease end}: the job was cancelled before; its place is freed
--       | {'lost'} | {'gap'} | {'start'}: see step start
-- Repeat: recognised by the token and the way it ends; another way to end the same attempt is too late.
local prefix = string.sub(KEYS[1], 1, -8)
local random, id, token, how, value, code = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local by = token .. ' ' .. how
local job = load_job(prefix .. 'job:' .. id, id)
if not job then return { 'lost' } end
local now = clock(ARGV[1])
local over = over_already(prefix, job, token, now, by)
if over then return over end
if #ARGV >= 9 then
  local batch = ARGV[9] == '' and job.batch + 1 or tonumber(ARGV[9])
  if batch > job.batch + 1 then return { 'gap' } end
  if batch >= job.batch then
    -- A batch that is written already is passed over, and nothing behind it.
    local from = batch == job.batch and 13 + 2 * tonumber(ARGV[10]) or 13
    local entries = make_events(job, now, random, ARGV, from)
    write_events(job, prefix .. 'log:' .. id, prefix .. 'live:' .. id, now, entries)
    -- What else the events changed is saved with the end.
    call('HSET', job.key, 'batch', int(batch))
    if ARGV[11] ~= '' and #entries > 0 then call('HSET', job.key, 'progress', ARGV[11], 'message', ARGV[12]) end
  end
end
if how == 'completed' then
  free_place(prefix, job)
  finish(prefix, job, now, random, 'completed', '', ARGV[8] == '1' and ',"resultOmitted":true' or ',"result":' .. value,
    { 'result', value, 'progress', '100' }, by)
  return { 'ok', now, 'completed', '' }
end
if how == 'retry' then return { 'ok', now, retry_or_fail(prefix, job, now, random, value, code, by), code } end
fail(prefix, job, now, random, value, code, by)
return { 'ok', now, 'failed', code }
