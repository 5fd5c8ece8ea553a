#!lua flags=allow-oom
-- pause: no job of a task starts here until it is resumed; what runs goes on.
-- KEYS  1 still:1   2 still:2
-- ARGV  1 pause | resume   2 task
-- Reply {}
-- Repeat: harmless.
local prefix = string.sub(KEYS[1], 1, -8)
local task = ARGV[2]
if ARGV[1] == 'pause' then
  redis.call('SADD', prefix .. 'paused', task)
  return {}
end
redis.call('SREM', prefix .. 'paused', task)
if redis.call('EXISTS', prefix .. 'ready:' .. task) == 1 then ring(prefix, task) end
return {}
