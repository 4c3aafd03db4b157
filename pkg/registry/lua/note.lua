-- Changes what is noted under a name, if it is what the caller expects.
-- KEYS: 1 the note
-- ARGV: 1 what it should be, 2 what it shall become (each '' for no note), 3 ms to keep it
-- Returns: what it is now
-- GETDEL, since users of Redis may call that for tickets, and need not be let DEL.
-- Atomic, so that of those who find no note one writes the first. Run again after its answer was
-- lost, it changes nothing.
local note = redis.call('GET', KEYS[1]) or ''
if note ~= ARGV[1] then
  return {note}
end
if ARGV[2] == '' then
  redis.call('GETDEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return {ARGV[2]}
