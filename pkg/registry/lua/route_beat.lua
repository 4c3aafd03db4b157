-- Renews announcements and removes those that have expired.
-- KEYS: 1 announcements, 2 routes, 3 leases, 4 clock, 5 version
-- ARGV: 1 TTL in ms, 2 channel, 3... members to renew
-- Returns: the members that are not announced (any more)
-- Atomic because a lease must not be renewed after its announcement was removed.
local ttl, channel = tonumber(ARGV[1]), ARGV[2]
local clock, hold = tick(KEYS[4], ttl)
local missing = {}
for n = 3, #ARGV do
  if redis.call('ZSCORE', KEYS[3], ARGV[n]) then
    redis.call('ZADD', KEYS[3], int(clock + ttl), ARGV[n])
  else
    missing[#missing + 1] = ARGV[n]
  end
end
purge(clock, hold, ttl, channel)
return missing
