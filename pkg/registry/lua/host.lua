-- Writes or removes one gateway's entry of an audience, and removes those of its generations before.
-- KEYS: 1 hosts, 2 watchers, 3 marks of the shelf
-- ARGV: 1 the gateway, 2 its generation's number, 3 the entry "<members> <since>" or "" to remove it,
--       4 "show" to be told the watchers, "reap" if the generation is dead and its mark goes too, or "", 5 for how many ms watchers
--       are kept, 6 for how many ms marks are, 7 the number of this exchange, which grows
-- Returns: {"ok"}, or {"late"} if a later exchange was here, and nothing is done; to show also: for how many ms there may be
--       watchers that were lost, watcher, ms until it looks again, ...
-- Atomic because whoever looked before is told as a watcher, and whoever looks later finds the entry, or no mark.
local gateway, generation, entry, also = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local by, began, last, state, id = mark(KEYS[3], gateway)
if also == 'reap' then
  if by and by <= tonumber(generation) then
    redis.call('HDEL', KEYS[3], gateway)
  end
elseif late(by, last, generation, ARGV[7]) then
  return {'late'}
elseif by == tonumber(generation) then
  redis.call('HSET', KEYS[3], gateway, table.concat({generation, began, ARGV[7], state, id}, ' '))
end
local start = gateway .. '.'
if entry == '' then
  redis.call('HDEL', KEYS[1], start .. generation)
else
  redis.call('HSET', KEYS[1], start .. generation, entry)
end
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do -- what an exchange left that arrived late
  if string.sub(field, 1, #start) == start and (tonumber(string.sub(field, #start + 1)) or 0) < tonumber(generation) then
    redis.call('HDEL', KEYS[1], field)
  end
end
if also ~= 'show' then
  return {'ok'}
end
local now, lease = millis(), tonumber(ARGV[5])
local reply = {'ok', string.format('%.0f', begun(KEYS[3], run(), now, ARGV[6]) + lease - now)}
local watchers = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. string.format('%.0f', now), '+inf', 'WITHSCORES')
for n = 1, #watchers, 2 do
  reply[#reply + 1] = watchers[n]
  reply[#reply + 1] = string.format('%.0f', tonumber(watchers[n + 1]) - now)
end
return reply
