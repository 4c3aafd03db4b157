-- Notes which audiences a gateway's generation is about to have, or has no more, entries for. Doing it twice changes nothing more.
-- KEYS: 1 leases, 2 the generation's index, 3 checksums
-- ARGV: 1 the generation's lease member, then pairs: operation ("+" or "-"), audience
-- Returns: {"ok"}, or {"fenced"} if the generation has no lease (any more)
-- Atomic because the checksum must match the index, and a condemned generation must not write.
local member = ARGV[1]
local lease = redis.call('ZSCORE', KEYS[1], member)
if not lease or tonumber(lease) <= 0 then
  return {'fenced'}
end

local drift = 0
for n = 2, #ARGV, 2 do
  local audience = ARGV[n + 1]
  local sum = tonumber(string.sub(redis.sha1hex(audience), 1, 10), 16)
  if ARGV[n] == '+' then
    drift = drift + sum * redis.call('HSET', KEYS[2], audience, '')
  else
    drift = drift - sum * redis.call('HDEL', KEYS[2], audience)
  end
end
if drift ~= 0 then
  redis.call('HINCRBY', KEYS[3], member, string.format('%.0f', drift))
end
return {'ok'}
