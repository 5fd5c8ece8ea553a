-- A job's log and its live channel.
-- `job` here: id, attempt, seq, mark, at, logBytes, logMax, logMaxBytes, expiresAt (numbers but for id and mark).

-- Above this an entry is published by its first three words alone, and the reader takes it from the log.
local LIVE_MAX = 4096

-- Writes one event: log entry, cap, publication. Updates job.seq, job.mark, job.at and job.logBytes; the caller saves them.
-- `fields` is the JSON after "attempt" ('' or ',"name":value…'). Returns the event's JSON up to those fields.
local function append_event(job, log, live, now, random, kind, fields)
  local before = job.mark
  job.at = math.max(now, job.at)
  job.seq = job.seq + 1
  job.mark = string.sub(redis.sha1hex(before .. string.format('%d', job.at) .. random), 1, 6)
  local base = string.format('{"jobId":"%s","seq":%d,"type":"%s","at":"%s","attempt":%d',
    job.id, job.seq, kind, rfc3339(job.at), job.attempt)
  local head = string.format('%d %s %s', job.seq, job.mark, before)
  local entry = head .. ' ' .. kind .. ' ' .. base .. fields .. '}'

  local length = redis.call('RPUSH', log, entry)
  -- A log that is new, or was deleted behind our back, has no TTL yet, and no bytes but these.
  if length == 1 then
    redis.call('PEXPIRE', log, string.format('%d', math.max(1, job.expiresAt - now)))
    job.logBytes = 0
  end
  job.logBytes = job.logBytes + #entry
  while length > 1 and (length > job.logMax or job.logBytes > job.logMaxBytes) do
    job.logBytes = job.logBytes - #redis.call('LPOP', log)
    length = length - 1
  end
  redis.call('SPUBLISH', live, #entry <= LIVE_MAX and entry or head)
  return base
end

-- Writes a batch of reports; `args` from `from` on are triples: progress, <progress>, <message>; output, <json>, ''; text,
-- <json>, ''. Returns the hash fields that the last progress changes (a flat list, maybe empty).
local function append_reports(job, log, live, now, random, args, from)
  local changed = {}
  for i = from, #args, 3 do
    local kind, first = args[i], args[i + 1]
    if kind == 'progress' then
      append_event(job, log, live, now, random, 'progress', ',"progress":' .. first .. ',"message":' .. args[i + 2])
      changed = { 'progress', first, 'message', args[i + 2] }
    else
      append_event(job, log, live, now, random, 'output', ',"' .. kind .. '":' .. first)
    end
  end
  return changed
end
