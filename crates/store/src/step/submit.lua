#!lua
-- submit: makes a job and puts it in the queue, or finds the one that its Idempotency-Key made.
-- KEYS  1 still:1   2 still:2 (their partition is the job's)
-- ARGV  1 now or ''   2 random   3 id   4 owner   5 task   6 payload   7 metadata or ''   8 maxAttempts   9 timeout ms
--       10 deadline ms   11 queue limit ms   12 retention ms   13 log events   14 log bytes
--       15 sha256 of the Idempotency-Key or ''   16 fingerprint of the request   17 priority: 0, 1 or 2   18 delay ms
--       19 first retry's delay ms   20 the longest one, ms   21 an external job's token or ''   22 its lease ms
--       23 ms without a follower after which it is cancelled, or 0   24 who is told of its end: see common/deliver, or ''
-- Reply {'created', id} | {'replayed', id} | {'mismatch', id}: the key was used with another request
--       | {'expired', id}: the key's job is gone
-- Repeat: recognised by the id.
-- Errors: OOM, when Redis is full.
local prefix = string.sub(KEYS[1], 1, -8)
local id, owner, task, idem, fingerprint = ARGV[3], ARGV[4], ARGV[5], ARGV[15], ARGV[16]
local key = prefix .. 'job:' .. id
local idem_key = prefix .. 'idem:' .. owner .. ':' .. idem

if redis.call('EXISTS', key) == 1 then
  touch(key, owner)
  return { 'created', id }
end
if idem ~= '' then
  local record = redis.call('GET', idem_key)
  if record then
    local first, print = string.match(record, '^(%S+) (%S+)$')
    if first == id then return { 'created', id } end
    if print ~= fingerprint then return { 'mismatch', first } end
    local first_key = prefix .. 'job:' .. first
    if redis.call('EXISTS', first_key) == 0 then return { 'expired', first } end
    touch(first_key, owner)
    return { 'replayed', first }
  end
end

local now, random = clock(ARGV[1]), ARGV[2]
local deadline, retention = tonumber(ARGV[10]), tonumber(ARGV[12])
-- No living job can expire: it ends at its deadline at the latest, and a sweep that is late has days.
local life = deadline + math.max(retention, 7 * DAY)
local delay = tonumber(ARGV[18])
local queue_limit = math.min(now + delay + tonumber(ARGV[11]), now + deadline)
local job = { id = id, key = key, owner = owner, task = task, status = 'pending', attempt = 0, seq = 0, mark = '000000',
  at = now, logBytes = 0, logMax = tonumber(ARGV[13]), logMaxBytes = tonumber(ARGV[14]), createdAt = now, queueLimit = queue_limit,
  expiresAt = now + life, priority = tonumber(ARGV[17]), followedUntil = 0 }

tell(prefix, job, now, random, 'queued', ',"task":"' .. task .. '"')
-- What append reads and writes comes first: a small hash is a list, and is searched from its start.
save_job(job, 'status', 'pending', 'attempt', '0', 'batch', '0', 'progress', 'null', 'message', 'null', 'logMax', ARGV[13],
  'logMaxBytes', ARGV[14], 'expiresAt', int(job.expiresAt), 'owner', owner, 'task', task, 'payload', ARGV[6],
  'maxAttempts', ARGV[8], 'createdAt', int(now), 'timeout', ARGV[9], 'deadline', int(now + deadline),
  'queueLimit', int(queue_limit), 'retention', ARGV[12], 'priority', ARGV[17], 'retryMs', ARGV[19], 'retryMaxMs', ARGV[20])
if ARGV[7] ~= '' then redis.call('HSET', key, 'metadata', ARGV[7]) end
local external = ARGV[21] ~= ''
if external then
  -- Until its first report it may wait as long as any job may wait for its start.
  redis.call('HSET', key, 'external', ARGV[22], 'lease', ARGV[21], 'token', ARGV[21], 'leaseUntil', int(queue_limit))
end
if ARGV[24] ~= '' then redis.call('HSET', key, 'webhooks', ARGV[24]) end
if delay > 0 then redis.call('HSET', key, 'delay', int(delay)) end
local disconnect = tonumber(ARGV[23])
if disconnect > 0 then
  redis.call('HSET', key, 'disconnectMs', int(disconnect), 'followedUntil', int(now + disconnect))
  redis.call('ZADD', prefix .. 'unfollowed', int(now + disconnect), id)
end
redis.call('PEXPIRE', key, int(life))
if idem ~= '' then
  redis.call('HSET', key, 'idem', idem)
  redis.call('SET', idem_key, id .. ' ' .. fingerprint, 'PX', int(math.max(DAY, life)))
end
redis.call('ZADD', prefix .. 'jobsof:' .. owner, 0, id)
redis.call('ZADD', prefix .. 'expiry', int(job.expiresAt), owner .. ':' .. id)
redis.call('ZADD', prefix .. 'deadlines', int(next_limit(job)), id)
redis.call('SADD', prefix .. 'tasks', task)
if external then
  -- No worker takes it: it waits for its first report.
  enqueue_later(prefix, job, queue_limit)
elseif delay == 0 then
  enqueue(prefix, job)
else
  enqueue_later(prefix, job, now + delay)
end
return { 'created', id }
