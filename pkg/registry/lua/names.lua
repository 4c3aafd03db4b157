-- Writes the names of a node's gateways.
-- KEYS: 1 leases, 2 names, 3 version
-- ARGV: 1 the lease member of the node's present generation, 2 the node's incarnation, 3 "serving <name>,<name>...", 4 channel, 5 what to publish
-- Returns: {"ok"}, or {"fenced"} if the generation has no lease (any more)
-- Atomic because whoever reaps a node must find its names.
local lease = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not lease or tonumber(lease) <= 0 then
  return {'fenced'}
end
if redis.call('HGET', KEYS[2], ARGV[2]) ~= ARGV[3] then
  redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
  bump(KEYS[3], ARGV[4], ARGV[5])
end
return {'ok'}
