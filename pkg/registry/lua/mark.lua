-- Marks that a gateway's generation writes all its entries of a shelf, or that it has written them, or removes the mark.
-- KEYS: 1 marks
-- ARGV: 1 the gateway, 2 its generation's number, 3 "writing", "whole" or "gone", 4 for how many ms marks are kept if nobody marks
--       again, 5 the number of this exchange, 6 for "whole" that of the exchange that marked "writing"
-- Returns: {"ok"}; {"late"}; for "whole" {"lost"} if data may have been lost since the generation marked that it writes
-- Atomic because data may be lost, and other generations may write, between any two commands.
local gateway, generation, state, keep, number = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local by, began, last, _, at = mark(KEYS[1], gateway)
if state == 'gone' then
  if by and by <= tonumber(generation) then
    redis.call('HDEL', KEYS[1], gateway)
  end
  return {'ok'}
end
if late(by, last, generation, number) then
  return {'late'}
end
local id = run()
begun(KEYS[1], id, millis(), keep)
if state == 'writing' then
  began = number
elseif by ~= tonumber(generation) or began ~= ARGV[6] or at ~= id then
  return {'lost'}
end
redis.call('HSET', KEYS[1], gateway, table.concat({generation, began, number, state, id}, ' '))
redis.call('PEXPIRE', KEYS[1], keep)
return {'ok'}
