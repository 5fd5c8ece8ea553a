-- A job's log and its live channel. Most of what an event costs Redis is here: so an entry's string is made in one go, and what
-- the events of one call have alike is made once.
-- `job` here: id, key, attempt, seq, mark, at, logBytes, logMax, logMaxBytes, expiresAt (numbers but for id, key and mark).

-- Above this an entry is published by its first three words alone, and the reader takes it from the log.
local LIVE_MAX = 4096

-- Makes events, all of one time: `list` from `from` on is pairs of an event's type and its fields, the JSON after "attempt" ('' or
-- ',"name":value…'). Returns the log's entries. Updates job.seq, job.mark and job.at.
local function make_events(job, now, random, list, from)
  if #list < from then return {} end
  if now > job.at then job.at = now end
  local sha1hex, sub, seq, mark = redis.sha1hex, string.sub, job.seq, job.mark
  local stamp = format('%d', job.at) .. random
  local opening = ' {"jobId":"' .. job.id .. '","seq":'
  local middle = '","at":"' .. rfc3339(job.at) .. '","attempt":' .. job.attempt
  local entries, n = {}, 0
  for i = from, #list, 2 do
    local kind, before = list[i], mark
    seq, n = seq + 1, n + 1
    mark = sub(sha1hex(before .. stamp), 1, 6)
    local number = format('%d', seq)
    entries[n] = number .. ' ' .. mark .. ' ' .. before .. ' ' .. kind .. opening .. number .. ',"type":"' .. kind .. middle ..
      list[i + 1] .. '}'
  end
  job.seq, job.mark = seq, mark
  return entries
end

-- Writes made events: log entries, cap, publications. Updates job.logBytes; the caller saves it with what make_events changed.
local function write_events(job, log, live, now, entries)
  local count, bytes, most, length = #entries, job.logBytes, job.logMax, nil
  if count == 0 then return end
  -- As many as `unpack` surely takes.
  for i = 1, count, 1000 do
    length = call('RPUSH', log, unpack(entries, i, i + 999 < count and i + 999 or count))
  end
  -- A log that is new, or was deleted behind our back, has no TTL yet, and no bytes but these.
  if length == count then
    call('PEXPIRE', log, int(math.max(1, job.expiresAt - now)))
    bytes = 0
  end
  for i = 1, count do bytes = bytes + #entries[i] end
  while length > 1 and (length > most or bytes > job.logMaxBytes) do
    bytes = bytes - #call('LPOP', log)
    length = length - 1
  end
  job.logBytes = bytes
  for i = 1, count do
    local entry = entries[i]
    call('SPUBLISH', live, #entry <= LIVE_MAX and entry or string.match(entry, '^%d+ %x+ %x+'))
  end
end

-- Saves what events changed, and the pairs that are given.
local function save_job(job, ...)
  call('HSET', job.key, 'seq', format('%d', job.seq), 'mark', job.mark, 'at', format('%d', job.at), 'logBytes',
    format('%d', job.logBytes), ...)
end
