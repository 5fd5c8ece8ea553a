#!lua
-- append: writes a batch of an attempt's reports, and renews its lease.
-- KEYS  1 job:<id>   2 log:<id> (and nothing else is touched, so that it goes on while a slot moves)
-- ARGV  1 now or ''   2 random   3 id   4 token   5 lease ms   6 live channel   7 batch number or ''   8… reports, triples
-- Reply {'ok', lease end} | {'cancelled', lease end} | {'lost'} | {'gap'} | {'start'}: see step start
-- Repeat: recognised by the batch number; '' is a batch of its own each time.
-- Errors: OOM, when Redis is full.
-- Of all steps this one is called the most: it reads no more of the job than it needs.
local job = load_fields(KEYS[1], ARGV[3], { 'status', 'lease', 'mark',
  'attempt', 'expiresAt', 'leaseUntil', 'seq', 'at', 'batch', 'logBytes', 'logMax', 'logMaxBytes', 'external' }, 4)
if not job or job.lease ~= ARGV[4] then return { 'lost' } end
if job.status == 'cancelled' then return { 'cancelled', job.leaseUntil } end
if is_unstarted(job, ARGV[4]) then return { 'start' } end
if job.status ~= 'processing' then return { 'lost' } end
local now = clock(ARGV[1])
local batch = ARGV[7] == '' and job.batch + 1 or tonumber(ARGV[7])
if batch > job.batch + 1 then return { 'gap' } end
local lease = job.external > 0 and job.external or tonumber(ARGV[5])
local lease_until = now + lease
if batch <= job.batch then
  redis.call('HSET', KEYS[1], 'leaseUntil', int(lease_until), 'leaseMs', int(lease))
  return { 'ok', lease_until }
end
local changed = append_reports(job, KEYS[2], ARGV[6], now, ARGV[2], ARGV, 8)
changed[#changed + 1] = 'batch'
changed[#changed + 1] = int(batch)
changed[#changed + 1] = 'leaseUntil'
changed[#changed + 1] = int(lease_until)
changed[#changed + 1] = 'leaseMs'
changed[#changed + 1] = int(lease)
save_job(job, changed)
return { 'ok', lease_until }
