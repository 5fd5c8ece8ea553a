-- The owner's feed: life-cycle events of all of an owner's jobs in this partition, without payload, result or output.

local FEED_MAX = 10000
local FEED_TTL = 7 * 24 * 3600 * 1000

-- `json` is the job's own event. The feed's seq starts at the time in ms, so a feed that expired never runs backwards.
local function feed(prefix, job, now, random, kind, json)
  local key = prefix .. 'feedof:' .. job.owner
  local seq, before = now, '000000'
  local last = call('LINDEX', key, -1)
  if last then
    local last_seq, last_mark = string.match(last, '^(%d+) (%x+) ')
    seq, before = tonumber(last_seq) + 1, last_mark
  end
  local mark = string.sub(redis.sha1hex(before .. int(job.at) .. random .. job.id), 1, 6)
  local head = int(seq) .. ' ' .. mark .. ' ' .. before
  local entry = head .. ' ' .. kind .. ' ' .. json
  if call('RPUSH', key, entry) > FEED_MAX then call('LTRIM', key, -FEED_MAX, -1) end
  call('PEXPIRE', key, FEED_TTL)
  call('SPUBLISH', prefix .. 'feedlive:' .. job.owner, #entry <= LIVE_MAX and entry or head)
end

-- One life-cycle event, in the job's log and in its owner's feed. `private` fields are left out of the feed.
local function tell(prefix, job, now, random, kind, fields, private)
  private = private or ''
  local entries = make_events(job, now, random, { kind, fields .. private }, 1)
  write_events(job, prefix .. 'log:' .. job.id, prefix .. 'live:' .. job.id, now, entries)
  local json = string.match(entries[1], '{.*')
  if private ~= '' then json = string.sub(json, 1, -2 - #private) .. '}' end
  feed(prefix, job, now, random, kind, json)
end
