-- Removes a dead member: an instance at once, a gateway's generation in pieces.
-- KEYS: 1 instances, 2 counts, 3 leases, 4 clock, 5 checksums, 6 version, 7 dead, 8 the gateway's pins (for an instance: any key of the service)
-- ARGV: 1 lease member, 2 "1" to remove it though its lease is good (its owner leaves), 3 TTL in ms, 4 most pins to remove,
--       5 cursor ("0" at first), 6 channel, 7 service, 8 how long to remember the dead in ms
-- Returns: {"alive"}; {"gone"}: unknown here; {"more", pins removed, cursor}: call again; {"done", pins removed}
-- Atomic because each removed pin must be counted off exactly once, whoever reaps, and a lease may be renewed meanwhile.
local member, ttl = ARGV[1], tonumber(ARGV[3])
local clock, hold = tick(KEYS[4], ttl)
local lease, why = reapable(KEYS[3], member, ARGV[2] == '1', clock, hold, ttl)
if not lease then
  return {why}
end

-- bury tells everybody.
local function bury()
  remember(KEYS[7], member, clock, tonumber(ARGV[8]))
  bump(KEYS[6], ARGV[6], ARGV[7])
end

if string.sub(member, 1, 2) == 'i:' then
  local name = string.sub(member, 3)
  redis.call('ZREM', KEYS[3], member)
  redis.call('HDEL', KEYS[1], name)
  if tonumber(redis.call('ZSCORE', KEYS[2], name) or 0) <= 0 then
    redis.call('ZREM', KEYS[2], name) -- else the last unpin removes it
  end
  bury()
  return {'done', 0}
end

if redis.call('HDEL', KEYS[5], member) == 1 or lease > 0 then
  redis.call('ZADD', KEYS[3], 0, member) -- it cannot pin from here on
  bury()
end
local scan = redis.call('HSCAN', KEYS[8], ARGV[5], 'COUNT', ARGV[4])
local pins, counts, removed = scan[2], {}, 0
for n = 1, #pins, 2 do
  if redis.call('HDEL', KEYS[8], pins[n]) == 1 then
    local name = pins[n + 1]
    counts[name] = (counts[name] or 0) + 1
    removed = removed + 1
  end
end
for name, n in pairs(counts) do
  if tonumber(redis.call('ZINCRBY', KEYS[2], -n, name)) <= 0 and redis.call('HEXISTS', KEYS[1], name) == 0 then
    redis.call('ZREM', KEYS[2], name)
  end
end
if redis.call('HLEN', KEYS[8]) > 0 then
  return {'more', removed, scan[1]}
end
redis.call('ZREM', KEYS[3], member)
return {'done', removed}
