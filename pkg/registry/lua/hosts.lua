-- Reads which gateways host an audience, and notes who wants to be told of further ones.
-- KEYS: 1 hosts, 2 watchers
-- ARGV: 1 the node that looks, 2 for how many ms it will use the answer (0: once)
-- Returns: generation, entry, ...
-- Atomic because an entry that is written later must find the watcher.
local ttl = tonumber(ARGV[2])
if ttl > 0 then
  local t = redis.call('TIME')
  local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + ttl), ARGV[1])
  redis.call('PEXPIRE', KEYS[2], ttl)
end
return redis.call('HGETALL', KEYS[1])
