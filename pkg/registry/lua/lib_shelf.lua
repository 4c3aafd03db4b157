-- Placed before the scripts that name it in scripts.go: whether what Redis has of a shelf of audiences is whole.

-- run names this run of the server: another one, after a restart or a failover, may lack what was written last. A server that
-- does not tell (an embedded one) has no other.
local function run()
  local info = redis.pcall('INFO', 'server')
  return type(info) == 'string' and string.match(info, 'run_id:(%w+)') or 'only'
end

-- millis is Redis TIME in ms.
local function millis()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- begun returns since when the shelf has lost no watchers. The marks are kept for `keep` ms if nobody marks again.
local function begun(marks, now, keep)
  local id = run()
  local since, before = string.match(redis.call('HGET', marks, 'begun') or '', '^(%d+) (%w+)$')
  if before == id then
    return tonumber(since)
  end
  redis.call('HSET', marks, 'begun', string.format('%.0f ', now) .. id)
  redis.call('PEXPIRE', marks, keep)
  return now
end

-- unmark removes a gateway's mark, if it is not a later generation's.
local function unmark(marks, gateway, generation)
  local by = string.match(redis.call('HGET', marks, gateway) or '', '^(%d+) ')
  if by and tonumber(by) <= tonumber(generation) then
    redis.call('HDEL', marks, gateway)
  end
end
