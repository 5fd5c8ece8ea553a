#!lua flags=no-writes
-- read: a page of a job's log after some seq, with what tells whether that place is still in its history.
-- KEYS  1 job:<id>   2 log:<id> (and nothing else is touched)
-- ARGV  1 seq   2 most bytes (one entry is always given)
-- Reply {} : no such job
--       | {owner, status, seq, mark, first entry's head or '', mark at the seq asked for or '', entries…}
local job = redis.call('HMGET', KEYS[1], 'owner', 'status', 'seq', 'mark')
if not job[2] then return {} end
-- Any number may be asked for; what lies past the end is no more than past the end, and stays an exact number.
local after, most = math.min(tonumber(ARGV[1]), tonumber(job[3]) + 1), tonumber(ARGV[2])
local reply = { job[1], job[2], job[3], job[4], '', '' }
local first = redis.call('LINDEX', KEYS[2], 0)
if not first then return reply end
reply[5] = string.match(first, '^%d+ %x+ %x+')
local index = after - tonumber(string.match(first, '^%d+'))
if index >= 0 then
  local anchor = redis.call('LINDEX', KEYS[2], index)
  if anchor then reply[6] = string.match(anchor, '^%d+ (%x+)') end
end
local from, bytes = math.max(0, index + 1), 0
while true do
  local entries = redis.call('LRANGE', KEYS[2], from, from + 31)
  for _, entry in ipairs(entries) do
    bytes = bytes + #entry
    if bytes > most and #reply > 6 then return reply end
    reply[#reply + 1] = entry
  end
  if #entries < 32 then return reply end
  from = from + 32
end
