#!lua flags=allow-oom
-- sweep: does what time alone brings: leases that ran out, limits that passed, ids of jobs that expired, lost bells.
-- KEYS  1 still:1   2 still:2
-- ARGV  1 now or ''   2 random   3 holder   4 how long the holder stays, ms   5 lease ms   6 stale after ms   7 most changes
-- Reply {'held', until}: another one sweeps this partition | {'swept', changes, ended: {status, code, …}}
-- Repeat: harmless; safe if two do it.
local prefix = string.sub(KEYS[1], 1, -8)
local random, holder, lease, most = ARGV[2], ARGV[3], tonumber(ARGV[5]), tonumber(ARGV[7])
local now = clock(ARGV[1])
local key = prefix .. 'sweeper'
local state = redis.call('HMGET', key, 'holder', 'until', 'last', 'grace')
local held_until, last, grace = tonumber(state[2]) or 0, tonumber(state[3]), tonumber(state[4]) or 0
if state[1] and state[1] ~= holder and held_until > now and held_until <= now + tonumber(ARGV[4]) then
  return { 'held', held_until }
end
-- Redis was away, has a new primary, or its clock jumped: workers that couldn't renew get one lease length to do so.
if not last or now - last > tonumber(ARGV[6]) or last > now then grace = now + lease end
redis.call('HSET', key, 'holder', holder, 'until', int(now + tonumber(ARGV[4])), 'last', int(now), 'grace', int(grace))

local changes, ended = 0, {}
local function count(status, code)
  changes = changes + 1
  ended[#ended + 1] = status
  ended[#ended + 1] = code
end

-- Leases. The job's hash knows better than the score, which is from the claim.
local function sweep_running(task)
  local running = prefix .. 'running:' .. task
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', running, '-inf', int(now), 'LIMIT', 0, int(most - changes))) do
    local job = load_job(prefix .. 'job:' .. id, id)
    if job and job.lease ~= '' and job.leaseUntil > now then
      redis.call('ZADD', running, int(job.leaseUntil), id)
    elseif not job or job.status ~= 'processing' then
      redis.call('ZREM', running, id)
    elseif now >= grace then
      count(retry_or_fail(prefix, job, now, random, '"the worker vanished: the lease of attempt ' .. job.attempt ..
        ' ran out"', 'lost', ''), 'lost')
    end
  end
end

for _, task in ipairs(redis.call('SMEMBERS', prefix .. 'tasks')) do
  if changes < most then sweep_running(task) end
  if redis.call('EXISTS', prefix .. 'ready:' .. task) == 1 then ring(prefix, task) end
end

-- Limits. A member whose job has a later limit, or none, is put right.
local deadlines = prefix .. 'deadlines'
for _, id in ipairs(redis.call('ZRANGEBYSCORE', deadlines, '-inf', int(now), 'LIMIT', 0, int(math.max(0, most - changes)))) do
  local job = load_job(prefix .. 'job:' .. id, id)
  if not job or is_terminal(job.status) then
    redis.call('ZREM', deadlines, id)
  else
    local code = end_if_late(prefix, job, now, random)
    if code then
      count('failed', code)
    else
      redis.call('ZADD', deadlines, int(next_limit(job)), id)
    end
  end
end

-- Indexes shed the ids of jobs that Redis has forgotten.
local expiry = prefix .. 'expiry'
for _, member in ipairs(redis.call('ZRANGEBYSCORE', expiry, '-inf', int(now), 'LIMIT', 0, int(math.max(0, most - changes)))) do
  local owner, id = string.match(member, '^(.*):(.-)$')
  local expires = redis.call('HGET', prefix .. 'job:' .. id, 'expiresAt')
  if expires and tonumber(expires) > now then
    redis.call('ZADD', expiry, expires, member)
  elseif not expires then
    redis.call('ZREM', prefix .. 'jobsof:' .. owner, id)
    redis.call('ZREM', prefix .. 'failedof:' .. owner, id)
    redis.call('ZREM', expiry, member)
    changes = changes + 1
  end
end
return { 'swept', changes, ended }
