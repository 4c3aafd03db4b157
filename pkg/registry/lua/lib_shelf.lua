-- Placed before the scripts that name it in scripts.go: whether what Redis has of a shelf of audiences is whole.

-- run names this run of the server as a master: another one, after a restart or a failover, may lack what was written last.
-- A server that becomes a master again gets another id of replication. A server that does not tell (an embedded one) has no
-- other run.
local function run()
  local info = redis.pcall('INFO', 'server', 'replication')
  if type(info) ~= 'string' then
    return 'only'
  end
  local server, master = string.match(info, 'run_id:(%w+)'), string.match(info, 'master_replid:(%w+)')
  return string.sub(server or 'only', 1, 20) .. string.sub(master or '', 1, 20)
end

-- millis is Redis TIME in ms.
local function millis()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- begun returns since when the shelf has lost no watchers. The marks are kept for `keep` ms if nobody marks again.
local function begun(marks, id, now, keep)
  local since, before = string.match(redis.call('HGET', marks, 'begun') or '', '^(%d+) (%w+)$')
  if before == id and tonumber(since) <= now then
    return tonumber(since)
  end
  redis.call('HSET', marks, 'begun', string.format('%.0f ', now) .. id)
  redis.call('PEXPIRE', marks, keep)
  return now
end

-- mark reads a gateway's mark: the generation, the exchange that began to write, the last exchange, "writing" or "whole", and the
-- run of the server; nil if there is none.
local function mark(marks, gateway)
  local generation, began, last, state, id =
    string.match(redis.call('HGET', marks, gateway) or '', '^(%d+) (%d+) (%d+) (%a+) (%w+)$')
  return tonumber(generation), began, tonumber(last), state, id
end

-- late tells whether an exchange is an earlier one than that of a mark: nobody waits for it any more, and what it wanted may be over.
local function late(by, last, generation, number)
  generation = tonumber(generation)
  return by and (by > generation or by == generation and last > tonumber(number))
end
