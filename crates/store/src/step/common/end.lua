-- How an attempt or a job ends. Every way to an end goes through here, so that all leave the same things behind.

local DAY, MINUTE = 24 * 3600 * 1000, 60 * 1000

-- Ends the job: event, state, TTLs, indexes, queue. `fields` go to log and feed, `private` to the log alone; `more` are
-- pairs for the hash; `by` names the call (its token, and how it ends), so that its repeat is recognised ('' for the sweep).
local function finish(prefix, job, now, random, status, fields, private, more, by)
  local was = job.status
  tell(prefix, job, now, random, status, fields, private)
  local retention = job.retention
  -- A cancelled attempt has its place until its worker says so, or its lease ends: so long it must be known whose it is.
  if was == 'processing' and status == 'cancelled' then
    retention = math.max(retention, job.leaseUntil - now + MINUTE)
  end
  local expires = now + retention
  local changed = { 'status', status, 'finishedAt', int(job.at), 'expiresAt', int(expires), 'endedBy', with_end(job, by) }
  for _, value in ipairs(more) do changed[#changed + 1] = value end
  job.status = status
  save_job(job, unpack(changed))

  call('PEXPIRE', job.key, int(retention))
  call('PEXPIRE', prefix .. 'log:' .. job.id, int(retention))
  call('ZADD', prefix .. 'expiry', int(expires), job.owner .. ':' .. job.id)
  if job.idem ~= '' then
    call('PEXPIRE', prefix .. 'idem:' .. job.owner .. ':' .. job.idem,
      int(math.max(DAY - (now - job.createdAt), retention)))
  end
  if status == 'failed' then call('ZADD', prefix .. 'failedof:' .. job.owner, 0, job.id) end
  call('ZREM', prefix .. 'deadlines', job.id)
  if job.followedUntil > 0 then call('ZREM', prefix .. 'unfollowed', job.id) end
  if was == 'pending' then
    dequeue(prefix, job)
    call('ZREM', prefix .. 'later', job.id)
  end
  deliver(prefix, job, now)
end

-- The error and its code as event fields and as hash pairs; `error` is JSON text.
local function failure(error, code)
  return ',"error":' .. error .. ',"errorCode":"' .. code .. '"', { 'error', error, 'errorCode', code }
end

-- The time of the next limit that ends a living job.
local function next_limit(job)
  if job.status == 'processing' then return math.min(job.startedAt + job.timeout, job.deadline) end
  return job.attempt == 0 and job.queueLimit or job.deadline
end

-- The other end: an attempt starts, with its lease, in its running place.
local function start_attempt(prefix, job, now, random, token, lease)
  job.status, job.attempt, job.lease, job.leaseUntil = 'processing', job.attempt + 1, token, now + lease
  tell(prefix, job, now, random, 'started', '')
  job.startedAt = job.at
  save_job(job, 'status', 'processing', 'attempt', int(job.attempt), 'lease', token, 'leaseUntil', int(job.leaseUntil),
    'leaseMs', int(lease), 'startedAt', int(job.startedAt), 'batch', '0', 'progress', 'null', 'message', 'null',
    'limited', int(job.limited))
  -- What the attempt before left.
  if job.attempt > 1 then call('HDEL', job.key, 'error', 'errorCode') end
  take_place(prefix, job)
  call('ZADD', prefix .. 'deadlines', int(next_limit(job)), job.id)
end

-- Gives back a job's running place and its lease. Nobody repeats the claim of an attempt that is over: its record goes soon.
local function free_place(prefix, job)
  leave_place(prefix, job)
  if job.lease ~= '' then call('PEXPIRE', prefix .. 'claim:' .. job.lease, int(job.leaseMs)) end
  call('HDEL', job.key, 'lease', 'leaseUntil')
end

-- The answer to an attempt's last call where the attempt isn't running, or nil if it is: it has yet to start, the job was
-- cancelled (its place is freed), the call is a repeat, or the lease is lost.
local function over_already(prefix, job, token, now, by)
  if is_unstarted(job, token) then return { 'start' } end
  if job.status == 'cancelled' and job.lease == token then
    leave_place(prefix, job)
    return { 'cancelled', job.leaseUntil }
  end
  if job.lease ~= token or job.status ~= 'processing' then
    if not was_ended_by(job, by) then return { 'lost' } end
    touch(job.key, job.owner)
    return { 'ok', now, '', '' }
  end
end

local function fail(prefix, job, now, random, error, code, by)
  local fields, more = failure(error, code)
  free_place(prefix, job)
  finish(prefix, job, now, random, 'failed', fields, '', more, by)
end

-- How long the next attempt waits: twice as long each time, up to a limit; at random from half of that on, so that what failed
-- together isn't tried again together.
local function backoff(job, random)
  local failed = job.attempt - job.givenBack - 1
  local whole = math.min(job.retryMs * 2 ^ math.min(failed, 40), job.retryMaxMs)
  return math.floor(whole / 2 + whole / 2 * tonumber(string.sub(random, 1, 8), 16) / 2 ^ 32)
end

-- Back to the queue. `code` nil is an attempt given back: it doesn't count, and the next one may start at once.
local function retry(prefix, job, now, random, error, code, by)
  free_place(prefix, job)
  job.status = 'pending'
  local wait = code and backoff(job, random) or 0
  local at = math.max(now, job.at) + wait
  tell(prefix, job, now, random, 'retrying', ',"error":' .. error .. ',"errorCode":' .. (code and '"' .. code .. '"' or 'null') ..
    ',"retryAt":"' .. rfc3339(at) .. '"')
  save_job(job, 'status', 'pending', 'error', error, 'errorCode', code or '', 'endedBy', with_end(job, by),
    'givenBack', int(job.givenBack + (code and 0 or 1)))
  call('ZADD', prefix .. 'deadlines', int(next_limit(job)), job.id)
  if wait == 0 then enqueue(prefix, job) else enqueue_later(prefix, job, at) end
end

-- Another attempt if there may be one, else the end.
local function retry_or_fail(prefix, job, now, random, error, code, by)
  if job.attempt - job.givenBack < job.maxAttempts then
    retry(prefix, job, now, random, error, code, by)
    return 'retrying'
  end
  fail(prefix, job, now, random, error, code, by)
  return 'failed'
end

-- Ends the job if one of its limits has passed. Returns the error code, or nil if none has.
local function end_if_late(prefix, job, now, random)
  local code, error
  local is_unclaimed = job.status == 'pending' and job.attempt == 0 and now >= job.queueLimit
  -- No worker is to blame where it could not start before its deadline.
  if is_unclaimed and now >= job.deadline and job.external == 0 and call('ZSCORE', prefix .. 'later', job.id) then
    is_unclaimed = false
  end
  if is_unclaimed then
    code = 'unclaimed'
    error = (job.external > 0 and '"nothing was reported of the job' or '"no worker took the job') .. ' within ' ..
      (job.queueLimit - job.createdAt) / 1000 .. ' s (queueTimeout)"'
  elseif now >= job.deadline then
    code = 'timeout'
    error = '"the job did not end within ' .. (job.deadline - job.createdAt) / 1000 .. ' s (deadline)"'
  elseif job.status == 'processing' and now >= job.startedAt + job.timeout then
    code = 'timeout'
    error = '"attempt ' .. job.attempt .. ' ran longer than ' .. job.timeout / 1000 .. ' s (timeout)"'
  else
    return nil
  end
  fail(prefix, job, now, random, error, code, '')
  return code
end
