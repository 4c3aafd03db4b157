-- Writes pins that a gateway remembers into its present generation, and takes them out of the one before.
-- Doing it twice changes nothing more.
-- KEYS: 1 instances, 2 counts, 3 leases, 4 checksums, 5 pins of this generation, 6 pins of the generation before
-- ARGV: 1 lease member of this generation, then pairs: socket, instance
-- Returns: {"ok"}, or {"fenced"} if the generation has no lease (any more)
-- Atomic because counts must match the pins while they move.
local member = ARGV[1]
local lease = redis.call('ZSCORE', KEYS[3], member)
if not lease or tonumber(lease) <= 0 then
  return {'fenced'}
end

local function sum(socket, name)
  return tonumber(string.sub(redis.sha1hex(name .. '/' .. socket), 1, 10), 16)
end

local counts, drift = {}, 0
local function count(name, n)
  counts[name] = (counts[name] or 0) + n
end
for n = 2, #ARGV, 2 do
  local socket, name = ARGV[n], ARGV[n + 1]
  local before = KEYS[6] ~= KEYS[5] and redis.call('HGET', KEYS[6], socket)
  if before then
    redis.call('HDEL', KEYS[6], socket)
    count(before, -1)
  end
  local now = redis.call('HGET', KEYS[5], socket)
  if now then
    count(now, -1)
    drift = drift - sum(socket, now)
  end
  redis.call('HSET', KEYS[5], socket, name)
  count(name, 1)
  drift = drift + sum(socket, name)
end
for name, n in pairs(counts) do
  if n ~= 0 and tonumber(redis.call('ZINCRBY', KEYS[2], n, name)) <= 0 and redis.call('HEXISTS', KEYS[1], name) == 0 then
    redis.call('ZREM', KEYS[2], name)
  end
end
if drift ~= 0 then
  redis.call('HINCRBY', KEYS[4], member, string.format('%.0f', drift))
end
return {'ok'}
