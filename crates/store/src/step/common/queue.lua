-- The queue: owners in turn, then one owner's jobs by priority, then age.

-- Within an owner's queue a priority outweighs any age (2^43 ms is the year 2248). 0 high, 1 normal, 2 low.
local PRIORITY = 8796093022208
local NORMAL = 1
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

local function enqueue(prefix, job)
  local ready, readyof = prefix .. 'ready:' .. job.task, prefix .. 'readyof:' .. job.task .. ':' .. job.owner
  redis.call('ZADD', readyof, string.format('%d', NORMAL * PRIORITY + job.createdAt), job.id)
  if not redis.call('ZSCORE', ready, job.owner) then
    redis.call('ZADD', ready, string.format('%d', next_turn(ready)), job.owner)
  end
  ring(prefix, job.task)
end

local function dequeue(prefix, job)
  local readyof = prefix .. 'readyof:' .. job.task .. ':' .. job.owner
  redis.call('ZREM', readyof, job.id)
  if redis.call('ZCARD', readyof) == 0 then redis.call('ZREM', prefix .. 'ready:' .. job.task, job.owner) end
end
