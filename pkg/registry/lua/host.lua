-- Writes or removes one gateway's entry of an audience, and removes those of its generations before.
-- KEYS: 1 hosts, 2 watchers
-- ARGV: 1 the gateway's generation "<node>#<epoch>.<generation>", 2 the entry "<members> <since>" or "" to remove it,
--       3 "1" to be told the watchers
-- Returns: {entry before or "", watcher, ms until it looks again, ...}
-- Atomic because whoever looked before is told as a watcher, and whoever looks later finds the entry.
local before = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
local start, generation = string.match(ARGV[1], '^(.*%.)(%d+)$')
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do -- what an exchange left that arrived late
  if string.sub(field, 1, #start) == start and (tonumber(string.sub(field, #start + 1)) or 0) < tonumber(generation) then
    redis.call('HDEL', KEYS[1], field)
  end
end
local reply = {before}
if ARGV[3] == '1' then
  local t = redis.call('TIME')
  local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
  local watchers = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. string.format('%.0f', now), '+inf', 'WITHSCORES')
  for n = 1, #watchers, 2 do
    reply[#reply + 1] = watchers[n]
    reply[#reply + 1] = string.format('%.0f', tonumber(watchers[n + 1]) - now)
  end
end
return reply
