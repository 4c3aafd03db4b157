-- Reads the route table if it changed.
-- KEYS: 1 version, 2 routes
-- ARGV: 1 the version that the caller has
-- Returns: {version} if it is the same, else {version, {service, JSON, ...}}
-- Atomic because the version must belong to the routes that come with it.
local version = redis.call('GET', KEYS[1]) or '0'
if version == ARGV[1] then
  return {version}
end
return {version, redis.call('HGETALL', KEYS[2])}
