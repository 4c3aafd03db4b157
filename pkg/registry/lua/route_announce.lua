-- Announces what one instance of a service says of it, or a gateway's names (service "@gateways").
-- KEYS: 1 announcements, 2 routes, 3 leases, 4 clock, 5 version
-- ARGV: 1 member "<service>/<node>#<epoch>", 2 JSON of the service, 3 TTL in ms, 4 channel
-- Returns: {"ok"}, or {"conflict", pattern, owner} and nothing was written
-- Atomic because two services that announce equal patterns at once must not both succeed.
local member, text, ttl, channel = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local service = string.match(member, '^[^/]*')
local clock, hold = tick(KEYS[4], ttl)
purge(clock, hold, ttl, channel)

-- overlap tells whether two lists of gateway names share one; none at all means every gateway.
local function overlap(a, b)
  if not a or not b or #a == 0 or #b == 0 then
    return true
  end
  for _, x in ipairs(a) do
    for _, y in ipairs(b) do
      if x == y then
        return true
      end
    end
  end
  return false
end

local mine = cjson.decode(text)
local routes = mine.routes and redis.call('HGETALL', KEYS[2]) or {}
for n = 1, #routes, 2 do
  local other = routes[n] ~= service and cjson.decode(routes[n + 1])
  if other and other.routes and overlap(mine.gateways, other.gateways) then
    local taken = {}
    for _, route in ipairs(other.routes) do
      taken[route.canonical] = true
    end
    for _, route in ipairs(mine.routes) do
      if taken[route.canonical] then
        return {'conflict', route.pattern, routes[n]}
      end
    end
  end
end

redis.call('HSET', KEYS[1], member, text)
redis.call('ZADD', KEYS[3], int(clock + ttl), member)
elect(service, channel)
return {'ok'}
