-- A job's log and its live channel.
-- `job` here: id, attempt, seq, mark, at, logBytes, logMax, logMaxBytes, expiresAt (numbers but for id and mark).

-- Above this an entry is published by its first three words alone, and the reader takes it from the log.
local LIVE_MAX = 4096

-- Makes one event. Updates job.seq, job.mark and job.at. `fields` is the JSON after "attempt" ('' or ',"name":value…'). Returns
-- the log's entry, its first three words, and the event's JSON up to those fields.
local function next_event(job, now, random, kind, fields)
  local before = job.mark
  job.at = math.max(now, job.at)
  job.seq = job.seq + 1
  job.mark = string.sub(redis.sha1hex(before .. string.format('%d', job.at) .. random), 1, 6)
  local base = string.format('{"jobId":"%s","seq":%d,"type":"%s","at":"%s","attempt":%d',
    job.id, job.seq, kind, rfc3339(job.at), job.attempt)
  local head = string.format('%d %s %s', job.seq, job.mark, before)
  return head .. ' ' .. kind .. ' ' .. base .. fields .. '}', head, base
end

-- Writes made events: log entries, cap, publications. Updates job.logBytes; the caller saves it with what next_event changed.
local function write_events(job, log, live, now, entries, heads)
  -- As many as `unpack` surely takes.
  local length
  for i = 1, #entries, 1000 do
    length = redis.call('RPUSH', log, unpack(entries, i, math.min(i + 999, #entries)))
  end
  -- A log that is new, or was deleted behind our back, has no TTL yet, and no bytes but these.
  if length == #entries then
    redis.call('PEXPIRE', log, string.format('%d', math.max(1, job.expiresAt - now)))
    job.logBytes = 0
  end
  for _, entry in ipairs(entries) do job.logBytes = job.logBytes + #entry end
  while length > 1 and (length > job.logMax or job.logBytes > job.logMaxBytes) do
    job.logBytes = job.logBytes - #redis.call('LPOP', log)
    length = length - 1
  end
  for i, entry in ipairs(entries) do
    redis.call('SPUBLISH', live, #entry <= LIVE_MAX and entry or heads[i])
  end
end

-- Writes one event. Returns its JSON up to its fields.
local function append_event(job, log, live, now, random, kind, fields)
  local entry, head, base = next_event(job, now, random, kind, fields)
  write_events(job, log, live, now, { entry }, { head })
  return base
end

-- Writes a batch of reports; `args` from `from` on are triples: progress, <progress>, <message>; output, <json>, ''; text,
-- <json>, ''. Returns the hash fields that the last progress changes (a flat list, maybe empty).
local function append_reports(job, log, live, now, random, args, from)
  local changed, entries, heads = {}, {}, {}
  for i = from, #args, 3 do
    local kind, first, n = args[i], args[i + 1], #entries + 1
    if kind == 'progress' then
      entries[n], heads[n] = next_event(job, now, random, 'progress', ',"progress":' .. first .. ',"message":' .. args[i + 2])
      changed = { 'progress', first, 'message', args[i + 2] }
    else
      entries[n], heads[n] = next_event(job, now, random, 'output', ',"' .. kind .. '":' .. first)
    end
  end
  if #entries > 0 then write_events(job, log, live, now, entries, heads) end
  return changed
end
