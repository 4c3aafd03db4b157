-- Writes or removes one gateway's entry of an audience, and removes those of its generations before.
-- KEYS: 1 hosts, 2 watchers, 3 marks of the shelf
-- ARGV: 1 the gateway's generation "<node>#<epoch>.<generation>", 2 the entry "<members> <since>" or "" to remove it,
--       3 "show" to be told the watchers, "reap" if the generation is dead and its mark goes too, or "", 4 for how many ms watchers are kept,
--       5 for how many ms marks are
-- Returns: {entry before or ""}; to show also: for how many ms there may be watchers that were lost, watcher, ms until it looks again, ...
-- Atomic because whoever looked before is told as a watcher, and whoever looks later finds the entry, or no mark.
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
if ARGV[3] == 'reap' then
  unmark(KEYS[3], string.sub(start, 1, -2), generation)
elseif ARGV[3] == 'show' then
  local now = millis()
  reply[2] = string.format('%.0f', begun(KEYS[3], now, ARGV[5]) + tonumber(ARGV[4]) - now)
  local watchers = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. string.format('%.0f', now), '+inf', 'WITHSCORES')
  for n = 1, #watchers, 2 do
    reply[#reply + 1] = watchers[n]
    reply[#reply + 1] = string.format('%.0f', tonumber(watchers[n + 1]) - now)
  end
end
return reply
