-- A job's hash. Absent fields are ''; absent numbers are 0.

local JOB_FIELDS = { 'owner', 'task', 'status', 'lease', 'endedBy', 'mark', 'idem',
  'attempt', 'maxAttempts', 'givenBack', 'createdAt', 'startedAt', 'timeout', 'deadline', 'queueLimit', 'retention',
  'expiresAt', 'leaseUntil', 'leaseMs', 'seq', 'at', 'batch', 'logBytes', 'logMax', 'logMaxBytes', 'priority', 'retryMs',
  'retryMaxMs', 'limited', 'external', 'followedUntil' }
local FIRST_NUMBER = 8

-- These fields of the job, those from `first_number` on as numbers; nil where there is no job. `status` is one of them.
local function load_fields(key, id, fields, first_number)
  local values = redis.call('HMGET', key, unpack(fields))
  local job = { id = id, key = key }
  for i, name in ipairs(fields) do
    local value = values[i] or ''
    if i >= first_number then value = tonumber(value) or 0 end
    job[name] = value
  end
  return job.status ~= '' and job or nil
end

-- The job, or nil where there is none.
local function load_job(key, id) return load_fields(key, id, JOB_FIELDS, FIRST_NUMBER) end

-- Saves what an event changed, and the pairs in `more`.
local function save_job(job, more)
  redis.call('HSET', job.key, 'seq', string.format('%d', job.seq), 'mark', job.mark, 'at', string.format('%d', job.at),
    'logBytes', string.format('%d', job.logBytes), unpack(more))
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
local function touch(key, owner) redis.call('HSET', key, 'owner', owner) end

-- An external job that nothing was reported of yet: its first report starts its one attempt (step start).
local function is_unstarted(job, token) return job.external > 0 and job.status == 'pending' and job.lease == token end

local function int(n) return string.format('%d', n) end

local function is_terminal(status) return status == 'completed' or status == 'failed' or status == 'cancelled' end
