-- Makes a node an instance of a service, or changes its entry.
-- KEYS: 1 instances, 2 counts, 3 leases, 4 clock, 5 version, 6 dead
-- ARGV: 1 instance "<node>#<epoch>", 2 entry "<state> <version>", 3 TTL in ms, 4 channel, 5 service
-- Returns: {"ok", lease members of earlier starts of the node...}, or {"superseded", the later start}
-- Atomic because an instance has an entry, a count and a lease, or none of them.
local name, entry, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3])
local lease = 'i:' .. name
local node, epoch = string.match(name, '^(.*)#(.*)$')
local clock = tick(KEYS[4], ttl)

local reply = {'ok'}
for _, other in ipairs(redis.call('HKEYS', KEYS[1])) do
  local n, e = string.match(other, '^(.*)#(.*)$')
  if n == node and newer(e, epoch) then
    return {'superseded', other}
  elseif n == node and other ~= name then
    reply[#reply + 1] = 'i:' .. other
  end
end
for n = 2, #reply do
  redis.call('ZADD', KEYS[3], 0, reply[n])
end

redis.call('ZADD', KEYS[3], int(clock + ttl), lease)
redis.call('ZADD', KEYS[2], 'NX', 0, name)
redis.call('ZREM', KEYS[6], lease)
if redis.call('HGET', KEYS[1], name) ~= entry then
  redis.call('HSET', KEYS[1], name, entry)
  bump(KEYS[5], ARGV[4], ARGV[5])
end
return reply
