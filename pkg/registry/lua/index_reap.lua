-- Removes a dead gateway's generation: names the audiences that it has entries for, and forgets it when there are none left.
-- KEYS: 1 leases, 2 clock, 3 checksums, 4 version, 5 dead, 6 the generation's index, 7 names
-- ARGV: 1 lease member, 2 "1" to remove it though its lease is good (its owner leaves), 3 TTL in ms, 4 channel, 5 what to publish,
--       6 how long to remember the dead in ms, 7 about how many audiences to return, 8 the node's incarnation,
--       9 cursor ("" at first), 10... audiences whose entry is removed
-- Returns: {"alive"}; {"gone"}: unknown here; {"more", cursor, audience...}: remove those entries, if any, and call again; {"done"}
-- Atomic because a lease may be renewed meanwhile, and from the first call on nothing may be added to the index.
local member, ttl = ARGV[1], tonumber(ARGV[3])
local clock, hold = tick(KEYS[2], ttl)
local lease, why = reapable(KEYS[1], member, ARGV[2] == '1', clock, hold, ttl)
if not lease then
  return {why}
end

if redis.call('HDEL', KEYS[3], member) == 1 or lease > 0 then
  redis.call('ZADD', KEYS[1], 0, member)
  remember(KEYS[5], member, clock, tonumber(ARGV[6]))
  local others = false -- later generations of the same start
  for _, other in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(0', '+inf')) do
    others = others or string.sub(other, 1, #ARGV[8] + 3) == 'g:' .. ARGV[8] .. '.'
  end
  if not others then
    redis.call('HDEL', KEYS[7], ARGV[8])
  end
  bump(KEYS[4], ARGV[4], ARGV[5])
end
if ARGV[9] == '' then -- whoever removes the marks can be sure now that the generation is dead, and will be found again
  return {'more', '0'}
end
for n = 10, #ARGV do
  redis.call('HDEL', KEYS[6], ARGV[n])
end
-- From the cursor on: the part of a large hash that was emptied before is not looked through again, which would take
-- longer with each call and in the end find nothing.
local scan = redis.call('HSCAN', KEYS[6], ARGV[9], 'COUNT', ARGV[7])
local reply = {'more', scan[1]}
for n = 1, #scan[2], 2 do
  reply[#reply + 1] = scan[2][n]
end
if redis.call('HLEN', KEYS[6]) > 0 then
  return reply
end
redis.call('ZREM', KEYS[1], member)
return {'done'}
