#!lua
-- append: writes a batch of an attempt's reports, and renews its lease.
-- KEYS  1 job:<id>   2 log:<id> (and nothing else is touched, so that it goes on while a slot moves)
-- ARGV  1 now or ''   2 random   3 id   4 token   5 lease ms   6 live channel   7 batch number or ''   8 the last progress
--       among the reports or ''   9 its message   10… reports, pairs: an event's type, and its fields
-- Reply {'ok', lease end} | {'cancelled', lease end} | {'lost'} | {'gap'} | {'start'}: see step start
-- Repeat: recognised by the batch number; without one by the random word, which is the same in all tries of one call.
-- Errors: OOM, when Redis is full.
-- Of all steps this one is called the most: it reads and writes no more of the job than it needs, each in one call.
local key = KEYS[1]
local seq, mark, at, bytes, status, attempt, max, max_bytes, expires, last, lease, lease_ms = unpack(call('HMGET', key, 'seq',
  'mark', 'at', 'logBytes', 'status', 'attempt', 'logMax', 'logMaxBytes', 'expiresAt', 'batch', 'lease', 'leaseMs'))
if not status or lease ~= ARGV[4] then return { 'lost' } end
if status == 'cancelled' then return { 'cancelled', tonumber(call('HGET', key, 'leaseUntil')) or 0 } end
if status == 'pending' and call('HEXISTS', key, 'external') == 1 then return { 'start' } end
if status ~= 'processing' then return { 'lost' } end
local now = clock(ARGV[1])
local batch
if ARGV[7] ~= '' then
  batch = ARGV[7] + 0
elseif call('HGET', key, 'unnumbered') == ARGV[2] then
  batch = last + 0
else
  batch = last + 1
  call('HSET', key, 'unnumbered', ARGV[2])
end
if batch > last + 1 then return { 'gap' } end
-- An external job's lease has a length of its own, whatever is asked for.
local duration = ARGV[5]
if duration ~= lease_ms then duration = call('HGET', key, 'external') or duration end
local lease_until = now + duration
if batch < last + 1 then
  call('HSET', key, 'leaseUntil', format('%d', lease_until), 'leaseMs', duration)
  return { 'ok', lease_until }
end
-- Numbers, where they are compared; words do where Lua reckons with them.
local job = { id = ARGV[3], key = key, attempt = attempt, seq = seq, mark = mark, at = at + 0, logBytes = bytes, logMax = max + 0,
  logMaxBytes = max_bytes + 0, expiresAt = expires }
write_events(job, KEYS[2], ARGV[6], now, make_events(job, now, ARGV[2], ARGV, 10))
if ARGV[8] == '' then
  save_job(job, 'batch', format('%d', batch), 'leaseUntil', format('%d', lease_until))
else
  save_job(job, 'batch', format('%d', batch), 'leaseUntil', format('%d', lease_until), 'progress', ARGV[8], 'message', ARGV[9])
end
if duration ~= lease_ms then call('HSET', key, 'leaseMs', duration) end
return { 'ok', lease_until }
