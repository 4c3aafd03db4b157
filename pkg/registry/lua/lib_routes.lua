-- Placed before the scripts on the route table, after lib_clock.lua.
-- KEYS of all of them: 1 announcements, 2 routes, 3 leases, 4 clock, 5 version.

-- elect makes the announcement of the latest start among the living instances the service's routes.
local function elect(service, channel)
  if string.sub(service, 1, 1) == '@' then
    return -- a gateway's entry, not a service
  end
  local best, latest
  for _, member in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
    local s, epoch = string.match(member, '^([^/]*)/.*#(%w+)$')
    if s == service and (not best or newer(epoch, latest) or (epoch == latest and member > best)) then
      best, latest = member, epoch
    end
  end
  local have = redis.call('HGET', KEYS[2], service)
  local want = best and redis.call('HGET', KEYS[1], best)
  if want == have then
    return
  end
  if want then
    redis.call('HSET', KEYS[2], service, want)
  else
    redis.call('HDEL', KEYS[2], service)
  end
  bump(KEYS[5], channel, '@routes')
end

-- remove takes announcements back.
local function remove(members, channel)
  local services = {}
  for _, member in ipairs(members) do
    redis.call('HDEL', KEYS[1], member)
    redis.call('ZREM', KEYS[3], member)
    services[string.match(member, '^[^/]*')] = true
  end
  for service in pairs(services) do
    elect(service, channel)
  end
end

-- purge removes the announcements whose lease has expired.
local function purge(clock, hold, ttl, channel)
  remove(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', expiry(clock, hold, ttl)), channel)
end
