-- Tells which generations have a lease, be it one that has expired or was condemned.
-- KEYS: 1 leases
-- ARGV: lease members
-- Returns: for each "1" or "0"
-- Atomic because it costs one exchange so.
local reply = {}
for n = 1, #ARGV do
  reply[n] = redis.call('ZSCORE', KEYS[1], ARGV[n]) and '1' or '0'
end
return reply
