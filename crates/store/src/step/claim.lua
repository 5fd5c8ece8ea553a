#!lua flags=allow-oom
-- claim: takes the next ready job of one of the tasks and starts an attempt.
-- KEYS  1 still:1   2 still:2
-- ARGV  1 now or ''   2 random   3 token   4 lease ms   5… triples, the preferred first: task, how many of it may run here or
--       '', how many of one owner or ''
-- Reply {codes}: nothing is ready
--       | {codes, id, task, owner, payload, attempt, maxAttempts, lease end, ms until its run limit}
--       codes: of the jobs that were found late, and were ended
-- Repeat: recognised by the token; renews the lease and answers with the same job, or as if nothing were ready once that lease is
--         lost.
local prefix = string.sub(KEYS[1], 1, -8)
local random, token, lease = ARGV[2], ARGV[3], tonumber(ARGV[4])
local claim_key = prefix .. 'claim:' .. token
local now = clock(ARGV[1])
local late = {}

-- A lease outlives its time while Redis is away, and its claim may be repeated then: it is remembered about as long as an
-- attempt goes on without Redis.
local REMEMBERED = 10 * 60 * 1000

local function answer(job)
  return { late, job.id, job.task, job.owner, redis.call('HGET', job.key, 'payload'), job.attempt, job.maxAttempts,
    job.leaseUntil, math.max(0, next_limit(job) - now) }
end

local claimed = redis.call('GET', claim_key)
if claimed then
  local job = load_job(prefix .. 'job:' .. claimed, claimed)
  if not job or job.status ~= 'processing' or job.lease ~= token then return { late } end
  -- Who asks again lives, and thinks that the lease began with the answer.
  job.leaseUntil = now + lease
  redis.call('HSET', job.key, 'leaseUntil', int(job.leaseUntil), 'leaseMs', int(lease))
  return answer(job)
end

-- Whether one more of `task` may start, as far as the task is concerned. The sweep, which knows no limits, learns here that
-- nobody needs to be woken until a place is free.
local function may_start(task, most)
  if redis.call('EXISTS', prefix .. 'ready:' .. task) == 0 or redis.call('SISMEMBER', prefix .. 'paused', task) == 1 then
    return false
  end
  if most == '' or redis.call('ZCARD', prefix .. 'running:' .. task) < tonumber(most) then return true end
  redis.call('HSET', prefix .. 'full', task, most)
  return false
end

-- The next job of `task` that may start; passes over those that are gone and ends those whose time is up. An owner that has
-- all of its places loses its turn until it gives one back.
local function next_job(task, most, most_of_owner)
  if not may_start(task, most) then return nil end
  local ready = prefix .. 'ready:' .. task
  for _ = 1, 100 do
    local owner = redis.call('ZRANGE', ready, 0, 0)[1]
    if not owner then return nil end
    local readyof = prefix .. 'readyof:' .. task .. ':' .. owner
    local running = most_of_owner ~= '' and tonumber(redis.call('HGET', prefix .. 'runningof:' .. task, owner)) or 0
    local id = redis.call('ZRANGE', readyof, 0, 0)[1]
    local job = id and load_job(prefix .. 'job:' .. id, id)
    if most_of_owner ~= '' and running >= tonumber(most_of_owner) then
      redis.call('ZREM', ready, owner)
    elseif not job or job.status ~= 'pending' then
      dequeue(prefix, { task = task, owner = owner, id = id or '' })
    else
      local code = end_if_late(prefix, job, now, random)
      if not code then
        if dequeue(prefix, job) then redis.call('ZADD', ready, int(next_turn(ready)), owner) end
        return job
      end
      late[#late + 1] = code
    end
  end
end

local job
for i = 5, #ARGV, 3 do
  job = next_job(ARGV[i], ARGV[i + 1], ARGV[i + 2])
  if job then
    job.limited = (ARGV[i + 1] ~= '' or ARGV[i + 2] ~= '') and 1 or 0
    break
  end
end
if not job then return { late } end

start_attempt(prefix, job, now, random, token, lease)
redis.call('SET', claim_key, job.id, 'PX', int(math.max(lease, REMEMBERED)))
for i = 5, #ARGV, 3 do
  if may_start(ARGV[i], ARGV[i + 1]) then ring(prefix, ARGV[i]) end
end
return answer(job)
