#!lua flags=no-writes
-- paused: which tasks are paused here.
-- KEYS  1 still:1   2 still:2
-- Reply {task, …}
return redis.call('SMEMBERS', string.sub(KEYS[1], 1, -8) .. 'paused')
