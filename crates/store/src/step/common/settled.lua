-- What becomes of a delivery that is over.

-- Whether a job's body is needed: whether one of its deliveries, of which one is over, is still to be sent, or may be sent again.
-- `targets` is how many it has, as the one that is over knows it.
local MAX_TARGETS = 8
local function is_needed(prefix, job_id, targets)
  targets = tonumber(targets) or MAX_TARGETS
  -- The only one is the one that is over.
  if targets == 1 then return false end
  for number = 1, targets do
    local status = redis.call('HGET', prefix .. 'delivery:' .. job_id .. '.' .. number, 'status')
    if status == 'pending' or status == 'dead' then return true end
  end
  return false
end

local function job_of(id) return string.match(id, '^(.*)%.%d+$') end

-- Forgets a dead letter.
local function forget(prefix, id)
  local key = prefix .. 'delivery:' .. id
  local targets = redis.call('HGET', key, 'targets')
  redis.call('DEL', key)
  if not is_needed(prefix, job_of(id), targets) then redis.call('DEL', prefix .. 'body:' .. job_of(id)) end
end

-- A dead letter more; the oldest beyond `most`, and those that are too old, are forgotten.
local function bury(prefix, owner, id, now, most, retention)
  local letters = prefix .. 'deadof:' .. owner
  redis.call('ZADD', letters, int(now), id)
  redis.call('PEXPIRE', letters, int(retention))
  redis.call('PEXPIRE', prefix .. 'delivery:' .. id, int(retention))
  -- Its siblings may have more time than it.
  local body = prefix .. 'body:' .. job_of(id)
  if redis.call('PTTL', body) < retention then redis.call('PEXPIRE', body, int(retention)) end
  redis.call('ZREMRANGEBYSCORE', letters, '-inf', int(now - retention))
  local too_many = redis.call('ZCARD', letters) - most
  if too_many > 0 then
    for _, old in ipairs(redis.call('ZRANGE', letters, 0, math.min(too_many, 100) - 1)) do
      redis.call('ZREM', letters, old)
      forget(prefix, old)
    end
  end
end

-- What couriers learned of attempts (JSON, a line each), and of one more; the newest are kept.
local HISTORY_MAX = 20
local function with_attempt(history, attempt)
  if history == '' then return attempt end
  local lines = {}
  for line in string.gmatch(history, '[^\n]+') do lines[#lines + 1] = line end
  lines[#lines + 1] = attempt
  return table.concat(lines, '\n', math.max(1, #lines - HISTORY_MAX + 1))
end
