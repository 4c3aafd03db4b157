-- Placed before the scripts that name it in scripts.go: the lease clock and the versions.

-- int writes a whole number without an exponent.
local function int(n)
  return string.format('%.0f', n)
end

-- tick advances the lease clock in the hash `key` and returns it with the end of the current hold.
-- The clock follows Redis TIME in ms, except that a gap of more than a third of the TTL, in which
-- nobody could renew a lease, counts as a third only and starts a hold of one TTL.
local function tick(key, ttl)
  local t = redis.call('TIME')
  local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
  local s = redis.call('HMGET', key, 'tick', 'clock', 'hold')
  local clock, hold
  if not s[1] then
    clock = now
    hold = clock + ttl
  else
    clock, hold = tonumber(s[2]), tonumber(s[3])
    local gap, third = now - tonumber(s[1]), math.floor(ttl / 3)
    if gap > third then
      clock = clock + third
      hold = clock + ttl
    elseif gap >= 0 and gap < ttl / 16 then
      return clock + gap, hold -- written often enough
    else
      clock = clock + math.max(gap, 0)
    end
  end
  redis.call('HSET', key, 'tick', int(now), 'clock', int(clock), 'hold', int(hold))
  return clock, hold
end

-- expiry returns the latest deadline that counts as expired. During a hold a lease counts for
-- 4/3 of the TTL beyond its deadline: nobody whose lease was good before the stall is reaped in
-- the hold, and stall upon stall cannot keep the dead for ever.
local function expiry(clock, hold, ttl)
  if clock < hold then
    clock = clock - ttl - math.floor(ttl / 3)
  end
  return int(clock - 1)
end

-- reapable returns the lease of a member that may be removed; or nil and why not: 'gone' if it has
-- none, 'alive' if its lease is good and it does not leave by itself (`leaves`).
local function reapable(leases, member, leaves, clock, hold, ttl)
  local lease = redis.call('ZSCORE', leases, member)
  if not lease then
    return nil, 'gone'
  end
  lease = tonumber(lease)
  if not leaves and lease > tonumber(expiry(clock, hold, ttl)) then
    return nil, 'alive'
  end
  return lease
end

-- remember notes in `dead` that a member died, for `ms`.
local function remember(dead, member, clock, ms)
  redis.call('ZREMRANGEBYSCORE', dead, '-inf', int(clock - ms))
  redis.call('ZADD', dead, int(clock), member)
end

-- newer tells whether epoch a (base 36) is later than b.
local function newer(a, b)
  if #a ~= #b then
    return #a > #b
  end
  return a > b
end

-- bump gives the version in `key` a value that it never had, not even before Redis lost data, and
-- tells everybody that `what` changed.
local function bump(key, channel, what)
  local t = redis.call('TIME')
  local v = tonumber(redis.call('GET', key) or '0') + 1
  v = math.max(v, tonumber(t[1]) * 1000000 + tonumber(t[2]))
  redis.call('SET', key, int(v))
  redis.call('PUBLISH', channel, what)
end
