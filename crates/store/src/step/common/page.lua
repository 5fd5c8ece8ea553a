-- A page of a log: a list of entries whose seqs have no holes.

-- Adds to `reply` the head of the first entry or '', the mark at `after` or '', and the entries after that seq, up to `most`
-- bytes of them but one at least.
local function page(log, after, most, reply)
  local first = redis.call('LINDEX', log, 0)
  if not first then
    reply[#reply + 1], reply[#reply + 2] = '', ''
    return reply
  end
  local index = after - tonumber(string.match(first, '^%d+'))
  local anchor = index >= 0 and redis.call('LINDEX', log, index)
  reply[#reply + 1] = string.match(first, '^%d+ %x+ %x+')
  reply[#reply + 1] = anchor and string.match(anchor, '^%d+ (%x+)') or ''
  local heads, from, bytes = #reply, math.max(0, index + 1), 0
  while true do
    local entries = redis.call('LRANGE', log, from, from + 31)
    for _, entry in ipairs(entries) do
      bytes = bytes + #entry
      if bytes > most and #reply > heads then return reply end
      reply[#reply + 1] = entry
    end
    if #entries < 32 then return reply end
    from = from + 32
  end
end
