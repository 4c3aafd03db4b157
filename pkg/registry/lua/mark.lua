-- Marks that a gateway's generation writes all its entries of a shelf, or that it has written them, or removes the mark.
-- KEYS: 1 marks
-- ARGV: 1 the gateway, 2 its generation's number, 3 "writing", "whole" or "gone", 4 for how many ms marks are kept if nobody marks again
-- Returns: {"ok"}, or for "whole" {"lost"} if data may have been lost since the generation marked that it writes
-- Atomic because data may be lost, and other generations may write, between any two commands.
if ARGV[3] == 'gone' then
  unmark(KEYS[1], ARGV[1], ARGV[2])
  return {'ok'}
end
local id = run()
begun(KEYS[1], millis(), ARGV[4])
local mark, wanted = redis.call('HGET', KEYS[1], ARGV[1]), ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. id
if ARGV[3] == 'whole' and mark ~= wanted and mark ~= ARGV[2] .. ' writing ' .. id then
  return {'lost'}
end
if mark ~= wanted then
  redis.call('HSET', KEYS[1], ARGV[1], wanted)
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {'ok'}
