-- Starts a generation of a gateway in a service, and condemns the one before: that one cannot pin any
-- more and its pins may be removed by anyone.
-- KEYS: 1 leases, 2 clock, 3 checksums, 4 version, 5 dead
-- ARGV: 1 lease member "g:<node>#<epoch>.<generation>", 2 the member before or "", 3 TTL in ms, 4 channel, 5 service
-- Returns: {"ok"}, or {"superseded", lease member of a later start of the node}
-- Atomic because at most one generation of a gateway may pin.
local member, before, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3])
local form = '^g:(.*)#(%w+)%.%d+$'
local node, epoch = string.match(member, form)
local clock = tick(KEYS[2], ttl)

local old = {}
local leases = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for n = 1, #leases, 2 do
  local other, good = leases[n], tonumber(leases[n + 1]) > 0
  local on, oe = string.match(other, form)
  if on == node and good and newer(oe, epoch) then
    return {'superseded', other}
  elseif on == node and (newer(epoch, oe) or other == before) then
    old[#old + 1] = other
  end
end
for _, other in ipairs(old) do
  redis.call('ZADD', KEYS[1], 0, other)
  redis.call('HDEL', KEYS[3], other)
  if other ~= before then
    redis.call('ZADD', KEYS[5], int(clock), other)
  end
end

local known = redis.call('ZSCORE', KEYS[1], member)
redis.call('ZADD', KEYS[1], int(clock + ttl), member)
redis.call('HSETNX', KEYS[3], member, 0)
if not known then
  bump(KEYS[4], ARGV[4], ARGV[5])
end
return {'ok'}
