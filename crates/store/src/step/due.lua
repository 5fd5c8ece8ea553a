#!lua flags=allow-oom
-- due: claims deliveries whose time has come. Until the lease ends nobody else gets them.
-- KEYS  1 still:1   2 still:2
-- ARGV  1 now or ''   2 token   3 lease ms   4 the most of them   5 the longest body that is given with them
-- Reply {ms until the next one is due or -1, then of each "id owner url secret webhookId since tries body's-length" and body or ''…}
-- Repeat: recognised by the token; answers with the same ones.
local prefix = string.sub(KEYS[1], 1, -8)
local token, lease, most, longest = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local now = clock(ARGV[1])
local due, claim = prefix .. 'due', prefix .. 'claim:' .. token

local function ask(key)
  return redis.call('HMGET', key, 'owner', 'url', 'secret', 'webhookId', 'since', 'tries', 'token', 'status')
end

local reply = { -1 }
local function give(id, fields)
  -- A byte more than is given shows that there is more.
  local key = prefix .. 'body:' .. job_of(id)
  local body = redis.call('GETRANGE', key, 0, int(longest))
  local length = #body <= longest and #body or redis.call('STRLEN', key)
  -- None of them has a space in it.
  reply[#reply + 1] = id .. ' ' .. fields[1] .. ' ' .. fields[2] .. ' ' .. fields[3] .. ' ' .. fields[4] .. ' ' .. fields[5] ..
    ' ' .. fields[6] .. ' ' .. length
  reply[#reply + 1] = length <= longest and body or ''
end

local before = redis.call('GET', claim)
if before then
  for id in string.gmatch(before, '%S+') do
    local fields = ask(prefix .. 'delivery:' .. id)
    if fields[7] == token and fields[8] == 'pending' then give(id, fields) end
  end
else
  local until_when, taken, times = int(now + lease), {}, {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', int(now), 'LIMIT', 0, int(most))) do
    local key = prefix .. 'delivery:' .. id
    local fields = ask(key)
    if fields[8] == 'pending' then
      redis.call('HSET', key, 'token', token)
      give(id, fields)
      taken[#taken + 1] = id
      times[#times + 1] = until_when
      times[#times + 1] = id
    else
      redis.call('ZREM', due, id)
    end
  end
  if #taken > 0 then
    redis.call('ZADD', due, unpack(times))
    redis.call('SET', claim, table.concat(taken, ' '), 'PX', int(lease))
  end
end
local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
if first[2] then
  reply[1] = int(math.max(0, tonumber(first[2]) - now))
  -- More than this courier took: another one may help.
  if #reply > 1 and tonumber(first[2]) <= now then ring(prefix, '!due') end
end
return reply
