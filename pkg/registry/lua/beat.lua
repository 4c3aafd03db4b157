-- Renews the lease of an instance or of a gateway's generation, unless what Redis has differs from what
-- the caller remembers.
-- KEYS: 1 instances, 2 leases, 3 clock, 4 checksums, 5 dead, 6 the gateway's pins (for an instance: any key of the service)
-- ARGV: 1 lease member, 2 TTL in ms, 3 an instance's entry, or a gateway's number of pins ("" = do not compare), 4 checksum of the pins
-- Returns: {"ok"}; {"lost"}: unknown here; {"dead"}: declared dead by others; {"drift"} or {"drift", pins, checksum}: Redis has others
-- Atomic because a lease that was just reaped must not be renewed.
local member, ttl = ARGV[1], tonumber(ARGV[2])
local clock = tick(KEYS[3], ttl)

local lease = redis.call('ZSCORE', KEYS[2], member)
if not lease or tonumber(lease) <= 0 then
  local dead = lease or redis.call('ZSCORE', KEYS[5], member)
  return {dead and 'dead' or 'lost'}
end
if string.sub(member, 1, 2) == 'i:' then
  local entry = redis.call('HGET', KEYS[1], string.sub(member, 3))
  if entry ~= ARGV[3] then
    return {entry and 'drift' or 'lost'}
  end
elseif ARGV[3] ~= '' then
  local pins = tostring(redis.call('HLEN', KEYS[6]))
  local sum = redis.call('HGET', KEYS[4], member) or 'none'
  if pins ~= ARGV[3] or sum ~= ARGV[4] then
    return {'drift', pins, sum}
  end
end
redis.call('ZADD', KEYS[2], int(clock + ttl), member)
return {'ok'}
