#!lua flags=allow-oom
-- ring: gives a ring back that its taker couldn't use.
-- KEYS  1 still:1   2 still:2
-- ARGV  1 task
-- Reply {}
-- Repeat: harmless; a bell holds one ring.
ring(string.sub(KEYS[1], 1, -8), ARGV[1])
return {}
