#!lua flags=no-writes
-- queue: how many jobs of a task are ready, and since when the oldest of them is; how many run; whether it is paused.
-- KEYS  1 still:1   2 still:2
-- ARGV  1 task   2 most owners to look at
-- Reply {ready, creation of the oldest ready one in ms or 0, running, 1 if it is paused}
local prefix = string.sub(KEYS[1], 1, -8)
local task, ready, oldest = ARGV[1], 0, 0
for _, owner in ipairs(redis.call('ZRANGE', prefix .. 'ready:' .. task, 0, tonumber(ARGV[2]) - 1)) do
  local readyof = prefix .. 'readyof:' .. task .. ':' .. owner
  ready = ready + redis.call('ZCARD', readyof)
  -- One owner's jobs stand by priority, then age: the oldest of each priority is the first of its range.
  for priority = 0, 2 do
    local first = redis.call('ZRANGE', readyof, int(priority * PRIORITY), int((priority + 1) * PRIORITY - 1), 'BYSCORE',
      'LIMIT', 0, 1, 'WITHSCORES')
    if first[2] then
      local created = tonumber(first[2]) - priority * PRIORITY
      if oldest == 0 or created < oldest then oldest = created end
    end
  end
end
return { ready, oldest, redis.call('ZCARD', prefix .. 'running:' .. task),
  redis.call('SISMEMBER', prefix .. 'paused', task) }
