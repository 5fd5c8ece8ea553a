#!lua flags=no-writes
-- read_feed: a page of an owner's feed after some seq; an owner without events has an empty one.
-- KEYS  1 feedof:<owner> (and nothing else is touched)
-- ARGV  1 seq   2 most bytes (one entry is always given)
-- Reply {seq, mark, first entry's head or '', mark at the seq asked for or '', entries…}
local last = redis.call('LINDEX', KEYS[1], -1)
if not last then return { '0', '000000', '', '' } end
local seq, mark = string.match(last, '^(%d+) (%x+)')
-- As in read.
local after = math.min(tonumber(ARGV[1]), tonumber(seq) + 1)
return page(KEYS[1], after, tonumber(ARGV[2]), { seq, mark })
