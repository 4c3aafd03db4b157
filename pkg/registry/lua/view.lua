-- Looks at a service: who may be dead, how many pins each instance has and, if it changed, its members.
-- KEYS: 1 version, 2 instances, 3 counts, 4 leases, 5 dead, 6 clock
-- ARGV: 1 the version that the caller has, 2 TTL in ms, 3 most suspects to return
-- Returns: {version, suspects, {instance, pins, ...}} and, if the version differs, also
--          {instance, entry, ...}, {lease member, deadline, ...}, dead lease members, clock
-- Atomic because the version must belong to the members that come with it.
local ttl = tonumber(ARGV[2])
local clock, hold = tick(KEYS[6], ttl)
local version = redis.call('GET', KEYS[1]) or '0'
local suspects = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', expiry(clock, hold, ttl), 'LIMIT', 0, ARGV[3])
local counts = redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES')
if version == ARGV[1] then
  return {version, suspects, counts}
end
return {
  version, suspects, counts,
  redis.call('HGETALL', KEYS[2]),
  redis.call('ZRANGE', KEYS[4], 0, -1, 'WITHSCORES'),
  redis.call('ZRANGE', KEYS[5], 0, -1),
  int(clock),
}
