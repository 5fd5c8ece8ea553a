-- The queue: owners in turn, then one owner's jobs by priority, then age.

-- Within an owner's queue a priority outweighs any age (2^43 ms is the year 2248). 0 high, 1 normal, 2 low.
local PRIORITY = 8796093022208
local BELL_TTL = 60000

-- Wakes one idle worker: one element in an empty bell.
local function ring(prefix, task)
  local bell = prefix .. 'bell:' .. task
  if redis.call('LLEN', bell) == 0 then
    redis.call('RPUSH', bell, '1')
    redis.call('PEXPIRE', bell, BELL_TTL)
  end
end

-- The turn after all turns given so far.
local function next_turn(ready)
  local last = redis.call('ZRANGE', ready, -1, -1, 'WITHSCORES')
  return last[2] and tonumber(last[2]) + 1 or 1
end

-- Gives an owner a turn, unless it has one; whether it had none.
local function give_turn(prefix, task, owner)
  local ready = prefix .. 'ready:' .. task
  if redis.call('ZSCORE', ready, owner) then return false end
  redis.call('ZADD', ready, string.format('%d', next_turn(ready)), owner)
  return true
end

-- A job that may start now.
local function enqueue(prefix, job)
  local readyof = prefix .. 'readyof:' .. job.task .. ':' .. job.owner
  redis.call('ZADD', readyof, string.format('%d', job.priority * PRIORITY + job.createdAt), job.id)
  give_turn(prefix, job.task, job.owner)
  ring(prefix, job.task)
end

-- A job that may start at `at`; the sweep puts it into the queue then.
local function enqueue_later(prefix, job, at)
  redis.call('ZADD', prefix .. 'later', string.format('%d', at), job.id)
end

-- Takes a job out of the queue; whether its owner has other ones there, and so keeps its turn.
local function dequeue(prefix, job)
  local readyof = prefix .. 'readyof:' .. job.task .. ':' .. job.owner
  redis.call('ZREM', readyof, job.id)
  if redis.call('ZCARD', readyof) > 0 then return true end
  redis.call('ZREM', prefix .. 'ready:' .. job.task, job.owner)
  return false
end

-- Running places. `running:<task>` has one for each lease, `runningof:<task>` how many each owner has.
local function take_place(prefix, job)
  redis.call('ZADD', prefix .. 'running:' .. job.task, string.format('%d', job.leaseUntil), job.id)
  redis.call('HINCRBY', prefix .. 'runningof:' .. job.task, job.owner, 1)
end

-- Gives a place back, if the job has one. An owner that lost its turn for want of it has one again, whoever set that limit; and
-- where the task has a limit, whoever waits for the place is woken.
local function leave_place(prefix, job)
  if redis.call('ZREM', prefix .. 'running:' .. job.task, job.id) == 0 then return end
  local runningof = prefix .. 'runningof:' .. job.task
  if redis.call('HINCRBY', runningof, job.owner, -1) <= 0 then redis.call('HDEL', runningof, job.owner) end
  local waits = redis.call('EXISTS', prefix .. 'readyof:' .. job.task .. ':' .. job.owner) == 1
  if waits and give_turn(prefix, job.task, job.owner)
      or job.limited == 1 and redis.call('EXISTS', prefix .. 'ready:' .. job.task) == 1 then
    ring(prefix, job.task)
  end
end
