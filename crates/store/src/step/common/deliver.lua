-- Deliveries of webhooks. `webhooks` of a job's hash has a line for each target: its URL, and its secret as the courier reads it.

-- The job as it stands, which is all that a poll tells: each field's name, length and bytes.
local function told(job)
  local names = { 'owner', 'task', 'status', 'progress', 'message', 'result', 'error', 'errorCode', 'attempt', 'maxAttempts',
    'metadata', 'priority', 'createdAt', 'at', 'startedAt', 'finishedAt', 'expiresAt', 'seq', 'mark' }
  local values = redis.call('HMGET', job.key, unpack(names))
  local parts = {}
  for i, name in ipairs(names) do
    if values[i] then parts[#parts + 1] = name .. ' ' .. #values[i] .. '\n' .. values[i] end
  end
  return table.concat(parts)
end

-- A delivery that nobody touched for so long has no courier.
local DELIVERY_TTL = 14 * 24 * 3600 * 1000

-- A delivery for each target of a job that has just ended.
local function deliver(prefix, job, now)
  local targets = redis.call('HGET', job.key, 'webhooks')
  if not targets then return end
  local _, count = string.gsub(targets, '%S+ %S+', '')
  local number = 0
  for url, secret in string.gmatch(targets, '(%S+) (%S+)') do
    number = number + 1
    local id = job.id .. '.' .. number
    redis.call('HSET', prefix .. 'delivery:' .. id, 'owner', job.owner, 'url', url, 'secret', secret,
      'webhookId', string.format('%s.%d-%s', job.id, job.seq, job.mark), 'status', 'pending', 'createdAt', int(job.at),
      'since', int(now), 'tries', '0', 'dueAt', int(now), 'targets', int(count), 'keptUntil', int(now + job.retention))
    redis.call('PEXPIRE', prefix .. 'delivery:' .. id, int(DELIVERY_TTL))
    redis.call('ZADD', prefix .. 'due', int(now), id)
  end
  if number == 0 then return end
  redis.call('SET', prefix .. 'body:' .. job.id, told(job), 'PX', int(DELIVERY_TTL))
  ring(prefix, '!due')
end
