-- A job's hash. Absent fields are ''; absent numbers are 0.

-- The job, or nil where there is none. Written out, since a loop over names costs three times as much.
local function load_job(key, id)
  local owner, task, status, lease, ended_by, mark, idem, attempt, max_attempts, given_back, created_at, started_at, timeout,
    deadline, queue_limit, retention, expires_at, lease_until, lease_ms, seq, at, batch, log_bytes, log_max, log_max_bytes,
    priority, retry_ms, retry_max_ms, limited, external, followed_until =
    unpack(call('HMGET', key, 'owner', 'task', 'status', 'lease', 'endedBy', 'mark', 'idem', 'attempt', 'maxAttempts',
      'givenBack', 'createdAt', 'startedAt', 'timeout', 'deadline', 'queueLimit', 'retention', 'expiresAt', 'leaseUntil',
      'leaseMs', 'seq', 'at', 'batch', 'logBytes', 'logMax', 'logMaxBytes', 'priority', 'retryMs', 'retryMaxMs', 'limited',
      'external', 'followedUntil'))
  if not status then return nil end
  return { id = id, key = key, owner = owner or '', task = task or '', status = status, lease = lease or '',
    endedBy = ended_by or '', mark = mark or '', idem = idem or '', attempt = (attempt or 0) + 0,
    maxAttempts = (max_attempts or 0) + 0, givenBack = (given_back or 0) + 0, createdAt = (created_at or 0) + 0,
    startedAt = (started_at or 0) + 0, timeout = (timeout or 0) + 0, deadline = (deadline or 0) + 0,
    queueLimit = (queue_limit or 0) + 0, retention = (retention or 0) + 0, expiresAt = (expires_at or 0) + 0,
    leaseUntil = (lease_until or 0) + 0, leaseMs = (lease_ms or 0) + 0, seq = (seq or 0) + 0, at = (at or 0) + 0,
    batch = (batch or 0) + 0, logBytes = (log_bytes or 0) + 0, logMax = (log_max or 0) + 0,
    logMaxBytes = (log_max_bytes or 0) + 0, priority = (priority or 0) + 0, retryMs = (retry_ms or 0) + 0,
    retryMaxMs = (retry_max_ms or 0) + 0, limited = (limited or 0) + 0, external = (external or 0) + 0,
    followedUntil = (followed_until or 0) + 0 }
end

-- The calls that ended attempts of this job, or the job: by them a repeat is recognised, also after another one's end. The
-- newest are kept.
local ENDS_MAX = 512

local function was_ended_by(job, by) return string.find(job.endedBy, by .. ';', 1, true) ~= nil end

-- What is kept once `by` has ended something ('' is nobody who would repeat it).
local function with_end(job, by)
  if by == '' then return job.endedBy end
  return string.sub(job.endedBy .. by .. ';', -ENDS_MAX)
end

-- Writes what is there already. For an answer that tells what an earlier call has written: WAIT covers the writes of its own
-- connection alone, and so covers that.
local function touch(key, owner) call('HSET', key, 'owner', owner) end

-- An external job that nothing was reported of yet: its first report starts its one attempt (step start).
local function is_unstarted(job, token) return job.external > 0 and job.status == 'pending' and job.lease == token end

local function is_terminal(status) return status == 'completed' or status == 'failed' or status == 'cancelled' end
