#!lua
-- grow: how many partitions there are, unless somebody else changed it since it was read.
-- KEYS  1 partitions
-- ARGV  1 what was read   2 what it shall be
-- Reply what it is now; nil if there is none
-- Repeat: finds what the first time wrote.
local is = redis.call('GET', KEYS[1])
if is == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2])
  is = ARGV[2]
end
return is
