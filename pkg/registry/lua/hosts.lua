-- Reads which gateways host an audience, and of which gateways Redis has all entries, and notes who wants to be told of further ones.
-- KEYS: 1 hosts, 2 watchers, 3 marks of the shelf
-- ARGV: 1 the node that looks, 2 for how many ms it will use the answer (0: once)
-- Returns: {{generation, entry, ...}, {gateway that has marked that it has written all, ...}}
-- Atomic because an entry that is written later must find the watcher.
local ttl = tonumber(ARGV[2])
if ttl > 0 then
  local now = millis()
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + ttl), ARGV[1])
  redis.call('PEXPIRE', KEYS[2], ttl)
end
local whole, sign = {}, ' whole ' .. run()
local marks = redis.call('HGETALL', KEYS[3])
for n = 1, #marks, 2 do
  if string.sub(marks[n + 1], -#sign) == sign then
    whole[#whole + 1] = marks[n]
  end
end
return {redis.call('HGETALL', KEYS[1]), whole}
