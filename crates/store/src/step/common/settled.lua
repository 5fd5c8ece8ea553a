-- What becomes of a delivery that is over.

-- Forgets what a job's deliveries sent, unless one of them is still to be sent, or may be sent again.
local MAX_TARGETS = 8
local function free_body(prefix, job_id)
  for number = 1, MAX_TARGETS do
    local status = redis.call('HGET', prefix .. 'delivery:' .. job_id .. '.' .. number, 'status')
    if status == 'pending' or status == 'dead' then return end
  end
  redis.call('DEL', prefix .. 'body:' .. job_id)
end

local function job_of(id) return string.match(id, '^(.*)%.%d+$') end

-- Forgets a dead letter.
local function forget(prefix, id)
  redis.call('DEL', prefix .. 'delivery:' .. id)
  free_body(prefix, job_of(id))
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

-- What a courier learned of an attempt (JSON); the newest are kept.
local HISTORY_MAX = 20
local function remember(key, attempt)
  local history = redis.call('HGET', key, 'history') or ''
  local lines = {}
  for line in string.gmatch(history, '[^\n]+') do lines[#lines + 1] = line end
  lines[#lines + 1] = attempt
  redis.call('HSET', key, 'history', table.concat(lines, '\n', math.max(1, #lines - HISTORY_MAX + 1)))
end
