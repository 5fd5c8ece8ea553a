-- What is called most often.
local call, format = redis.call, string.format

-- A whole number as Redis takes it.
local function int(n) return format('%d', n) end

-- The one clock: Redis' own time in milliseconds, read once per script. A test passes a time in; '' means none.
local function clock(given)
  if given ~= '' then return tonumber(given) end
  local t = call('TIME')
  return t[1] * 1000 + (t[2] - t[2] % 1000) / 1000
end

-- The time that was written last: the events of one script mostly have one.
local written_ms, written

-- Milliseconds as RFC 3339 in UTC. The days → date part is Howard Hinnant's civil_from_days. `(a - a % b) / b` is a whole
-- division for a third of what math.floor costs.
local function rfc3339(ms)
  if ms == written_ms then return written end
  local of_day = ms % 86400000
  local z = (ms - of_day) / 86400000 + 719468
  local doe = z % 146097
  local yoe = doe - (doe - doe % 1460) / 1460 + (doe - doe % 36524) / 36524 - (doe - doe % 146096) / 146096
  yoe = (yoe - yoe % 365) / 365
  local doy = doe - (365 * yoe + (yoe - yoe % 4) / 4 - (yoe - yoe % 100) / 100)
  local mp = (5 * doy + 2 - (5 * doy + 2) % 153) / 153
  local before = (153 * mp + 2 - (153 * mp + 2) % 5) / 5
  local month = mp < 10 and mp + 3 or mp - 9
  -- %d takes a number's whole part.
  written_ms, written = ms, format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ',
    yoe + (z - doe) / 146097 * 400 + (month <= 2 and 1 or 0), month, doy - before + 1, of_day / 3600000,
    of_day % 3600000 / 60000, of_day % 60000 / 1000, of_day % 1000)
  return written
end
