-- Pins and unpins sockets of one gateway generation in one service, in order. Doing it twice changes nothing more,
-- except that "=" may choose again.
-- KEYS: 1 instances, 2 counts, 3 leases, 4 clock, 5 the gateway's pins, 6 checksums
-- ARGV: 1 the gateway's lease member, 2 TTL in ms, then pairs: operation, socket.
--       "+" pin unless pinned, "-" unpin, "=" unpin, then pin
-- Returns: for each pair the instance that the socket is pinned to now, or ""; {} if the generation has no lease (any more)
-- Atomic because counts and checksums must match the pins, and two pins at once must not choose one instance by the same count.
local member, ttl = ARGV[1], tonumber(ARGV[2])
local lease = redis.call('ZSCORE', KEYS[3], member)
if not lease or tonumber(lease) <= 0 then
  return {}
end

-- sum is the checksum of one pin: 40 bits, so that many add up within 64.
local function sum(socket, name)
  return tonumber(string.sub(redis.sha1hex(name .. '/' .. socket), 1, 10), 16)
end

-- choose returns the serving instance with the fewest pins, in case of a tie the first by name. One that has not
-- renewed its lease since the last stall, or for half a TTL, is the last choice.
local good -- the least deadline of a sound lease
local function choose()
  if not good then
    local s = redis.call('HMGET', KEYS[4], 'clock', 'hold')
    good = math.max(tonumber(s[1] or 0) + ttl / 2, tonumber(s[2] or 0))
  end
  local from, to, spare = 0, 0, nil
  while true do
    local names = redis.call('ZRANGE', KEYS[2], from, to)
    for _, name in ipairs(names) do
      local entry = redis.call('HGET', KEYS[1], name)
      if entry and string.sub(entry, 1, 8) == 'serving ' then
        if tonumber(redis.call('ZSCORE', KEYS[3], 'i:' .. name) or 0) >= good then
          return name
        end
        spare = spare or name
      end
    end
    if #names <= to - from then
      return spare
    end
    from, to = to + 1, to + 16
  end
end

local reply, drift = {}, 0
for n = 3, #ARGV, 2 do
  local op, socket = ARGV[n], ARGV[n + 1]
  local name = redis.call('HGET', KEYS[5], socket)
  if name and op ~= '+' then
    redis.call('HDEL', KEYS[5], socket)
    drift = drift - sum(socket, name)
    if tonumber(redis.call('ZINCRBY', KEYS[2], -1, name)) <= 0 and redis.call('HEXISTS', KEYS[1], name) == 0 then
      redis.call('ZREM', KEYS[2], name)
    end
    name = false
  end
  if not name and op ~= '-' then
    name = choose()
    if name then
      redis.call('HSET', KEYS[5], socket, name)
      drift = drift + sum(socket, name)
      redis.call('ZINCRBY', KEYS[2], 1, name)
    end
  end
  reply[#reply + 1] = name or ''
end
if drift ~= 0 then
  redis.call('HINCRBY', KEYS[6], member, string.format('%.0f', drift))
end
return reply
