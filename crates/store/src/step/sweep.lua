#!lua flags=allow-oom
-- sweep: does what time alone brings: leases that ran out, limits that passed, ids of jobs that expired, lost bells.
-- KEYS  1 still:1   2 still:2
-- ARGV  1 now or ''   2 random   3 holder   4 how long the holder stays, ms   5 lease ms   6 stale after ms   7 most members
--       to touch   8 how often the holder sweeps, ms   9 how far apart the others' turns may be, ms
-- Reply {'held', until, ms until the caller's turn to look again}: another one sweeps this partition
--       | {'swept', changes, 1 if there may be more to do, ended: {status, code, …}}
--       | {'quiet'}: nothing lives here, and there was nothing to do; there is time for two of the usual pauses
-- Repeat: harmless; safe if two do it.
local prefix = string.sub(KEYS[1], 1, -8)
local random, holder, lease, most, pause = ARGV[2], ARGV[3], tonumber(ARGV[5]), tonumber(ARGV[7]), tonumber(ARGV[8])
local now = clock(ARGV[1])
local key = prefix .. 'sweeper'
local state = redis.call('HMGET', key, 'holder', 'until', 'last', 'grace', 'rest', 'turn')
local held_until, last, grace = tonumber(state[2]) or 0, tonumber(state[3]), tonumber(state[4]) or 0
-- When one who isn't the holder looks next. They come one after another, so that one comes soon after the holder has gone; the
-- more there are the further apart, as far as it is allowed, so that many cost no more than few.
local function next_look(held_until, turn)
  -- A clock that went back left turns that are too far off.
  turn = turn > now + 3600 * 1000 and held_until or math.max(turn, held_until)
  turn = turn + math.min(math.max(pause, (turn - now) / 8), tonumber(ARGV[9]))
  redis.call('HSET', key, 'turn', int(turn))
  return turn
end

if state[1] and state[1] ~= holder and held_until > now and held_until <= now + tonumber(ARGV[4]) then
  return { 'held', held_until, next_look(held_until, tonumber(state[6]) or 0) - now }
end
-- Redis was away, has a new primary, or its clock jumped: workers that couldn't renew get one lease length to do so.
if not last or now - last > tonumber(ARGV[6]) + (tonumber(state[5]) or 0) or last > now then grace = now + lease end

local tasks = redis.call('SMEMBERS', prefix .. 'tasks')
local expiry = prefix .. 'expiry'

-- Whether nothing lives here (each living job has a limit), no place is taken, and no id is to be shed.
local function is_quiet()
  if #tasks > 1000 then return false end
  local keys = { prefix .. 'deadlines', prefix .. 'later', prefix .. 'full', prefix .. 'due' }
  for _, task in ipairs(tasks) do
    keys[#keys + 1] = prefix .. 'running:' .. task
    keys[#keys + 1] = prefix .. 'runningof:' .. task
  end
  return redis.call('EXISTS', unpack(keys)) == 0
    and #redis.call('ZRANGEBYSCORE', expiry, '-inf', int(now), 'LIMIT', 0, 1) == 0
end

local quiet = is_quiet()
redis.call('HSET', key, 'holder', holder, 'until', int(now + tonumber(ARGV[4])), 'last', int(now), 'grace', int(grace),
  'rest', int(quiet and pause or 0))
if quiet then return { 'quiet' } end

-- Every member that is touched is moved to a later time, or goes: so a round of sweeps comes to an end. Scores put right
-- are no changes.
local changes, touched, ended = 0, 0, {}
local function touch(zset, id, score)
  touched = touched + 1
  if score then redis.call('ZADD', zset, int(score), id) else redis.call('ZREM', zset, id) end
end
local function count(status, code)
  changes = changes + 1
  ended[#ended + 1] = status
  ended[#ended + 1] = code
end

-- The members of `zset` whose time has come, as many as may still be touched.
local function due(zset)
  return redis.call('ZRANGEBYSCORE', zset, '-inf', int(now), 'LIMIT', 0, int(math.max(0, most - touched)))
end

-- When a lease ends. The job's hash knows better than the score, which is from the claim. After a break each attempt has its
-- own lease's length to come back.
local function lease_end(job)
  if job.status ~= 'processing' then return job.leaseUntil end
  return math.max(job.leaseUntil, grace + math.max(0, job.leaseMs - lease))
end

local function sweep_running(task)
  local running = prefix .. 'running:' .. task
  -- Should they ever disagree, they begin anew when nothing runs.
  if redis.call('EXISTS', running) == 0 then redis.call('DEL', prefix .. 'runningof:' .. task) end
  -- A clock that went back left leases that end too late: none is longer than its length from now. Each attempt is looked at
  -- within a usual lease, however long its own is: so what stands further off is new here, or from before, and is seen at once.
  local function look_again(id, job)
    local latest = now + job.leaseMs
    if job.leaseUntil > latest then
      job.leaseUntil = latest
      redis.call('HSET', job.key, 'leaseUntil', int(latest))
    end
    touch(running, id, math.min(lease_end(job), now + lease))
  end
  for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', running, '+inf', '(' .. int(now + lease), 'LIMIT', 0,
      int(math.max(0, most - touched)))) do
    local job = load_job(prefix .. 'job:' .. id, id)
    if job then look_again(id, job) else touch(running, id) end
  end
  for _, id in ipairs(due(running)) do
    local job = load_job(prefix .. 'job:' .. id, id)
    if job and job.lease ~= '' and lease_end(job) > now then
      look_again(id, job)
    elseif not job then
      touch(running, id)
    elseif job.status ~= 'processing' then
      touched = touched + 1
      leave_place(prefix, job)
    else
      touched = touched + 1
      count(retry_or_fail(prefix, job, now, random, '"the worker vanished: the lease of attempt ' .. job.attempt ..
        ' ran out"', 'lost', ''), 'lost')
    end
  end
end

-- Jobs whose time to start has come.
local later = prefix .. 'later'
for _, id in ipairs(due(later)) do
  local job = load_job(prefix .. 'job:' .. id, id)
  if job and job.external > 0 and job.status == 'pending' then
    -- Its limit ends it.
    touch(later, id, now + 1000)
  else
    touch(later, id)
    if job and job.status == 'pending' then
      enqueue(prefix, job)
      changes = changes + 1
    end
  end
end

-- Whether all places of `task` are taken, by the last claim that found it so.
local function is_full(task)
  local most = redis.call('HGET', prefix .. 'full', task)
  if not most then return false end
  if redis.call('ZCARD', prefix .. 'running:' .. task) >= tonumber(most) then return true end
  redis.call('HDEL', prefix .. 'full', task)
  return false
end

for _, task in ipairs(tasks) do
  sweep_running(task)
  if not is_full(task) and redis.call('EXISTS', prefix .. 'ready:' .. task) == 1
      and redis.call('SISMEMBER', prefix .. 'paused', task) == 0 then
    ring(prefix, task)
  end
end

-- Limits. A member whose job has a later limit, or none, is put right.
local deadlines = prefix .. 'deadlines'
for _, id in ipairs(due(deadlines)) do
  local job = load_job(prefix .. 'job:' .. id, id)
  if not job or is_terminal(job.status) then
    touch(deadlines, id)
  else
    local code = end_if_late(prefix, job, now, random)
    if code then
      touched = touched + 1
      count('failed', code)
    else
      touch(deadlines, id, next_limit(job))
    end
  end
end

-- Jobs that are to end when nobody follows them. The job's hash knows better than the score. After a break their followers
-- get time to be heard again.
local unfollowed = prefix .. 'unfollowed'
for _, id in ipairs(due(unfollowed)) do
  local job = load_job(prefix .. 'job:' .. id, id)
  if not job or is_terminal(job.status) then
    touch(unfollowed, id)
  else
    local within = tonumber(redis.call('HGET', job.key, 'disconnectMs'))
    local followed_until = math.max(job.followedUntil, grace - lease + math.min(within, lease))
    if followed_until > now then
      touch(unfollowed, id, followed_until)
    else
      local fields, more = failure('"nobody followed the job for ' .. within / 1000 .. ' s (cancelOnDisconnect)"', 'cancelled')
      finish(prefix, job, now, random, 'cancelled', fields, '', more, '')
      touched = touched + 1
      count('cancelled', 'cancelled')
    end
  end
end

-- Deliveries whose time has come; those that no courier ever took have expired.
local deliveries = prefix .. 'due'
redis.call('ZREMRANGEBYSCORE', deliveries, '-inf', int(now - DELIVERY_TTL))
if #redis.call('ZRANGEBYSCORE', deliveries, '-inf', int(now), 'LIMIT', 0, 1) > 0 then ring(prefix, '!due') end

-- Indexes shed the ids of jobs that Redis has forgotten.
for _, member in ipairs(due(expiry)) do
  local owner, id = string.match(member, '^(.*):(.-)$')
  local expires = redis.call('HGET', prefix .. 'job:' .. id, 'expiresAt')
  if expires then
    touch(expiry, member, math.max(tonumber(expires), now + 1000))
  else
    redis.call('ZREM', prefix .. 'jobsof:' .. owner, id)
    redis.call('ZREM', prefix .. 'failedof:' .. owner, id)
    touch(expiry, member)
    changes = changes + 1
  end
end
return { 'swept', changes, touched >= most and 1 or 0, ended }
