-- Notes that a gateway lives, and tells who does.
-- KEYS: 1 the gateways
-- ARGV: 1 the gateway, 2 for how long it counts as alive, in ms
-- Returns: whether the gateway was unknown (1 or 0), then the living gateways
-- Atomic because who was forgotten in between must learn of it.
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - tonumber(ARGV[2])))
local new = redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
local reply = redis.call('ZRANGE', KEYS[1], 0, -1)
table.insert(reply, 1, new)
return reply
