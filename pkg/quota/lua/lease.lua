-- Renews what one gateway may do in the name of one subject: connections and tokens of three rates.
-- KEYS: 1 the subject's hash
-- ARGV: 1 the gateway, 2 connections that it has, 3 connections that it wants beside, 4 limit of connections (0: none),
--       5 how long connections are remembered, in ms, then for each rate: 6 per second (0: no limit), 7 burst,
--       8 tokens wanted (negative: given back), 9 the least that is of use; from 18 on gateways that are dead
-- Returns: connections granted beside, then for each rate the tokens granted and the time until there may be more, in ms;
--          then, if not all connections were granted, the other gateways that have some
-- Atomic because connections and tokens must not be granted twice.
local key, me = KEYS[1], 'c:' .. ARGV[1]
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + tonumber(t[2]) / 1000
for n = 18, #ARGV do
  redis.call('HDEL', key, 'c:' .. ARGV[n])
end

local have, others, owners = {}, 0, {}
local flat = redis.call('HGETALL', key)
for n = 1, #flat, 2 do
  local field = flat[n]
  if string.sub(field, 1, 2) ~= 'c:' then
    have[field] = tonumber(flat[n + 1])
  elseif field ~= me then
    others = others + tonumber(flat[n + 1])
    owners[#owners + 1] = string.sub(field, 3)
  end
end

local mine, want, limit = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

-- rates: a connection is granted only with a token of the first rate, and takes that only if it is granted.
local granted, waits, keep = {}, {}, 0
for n = 1, 3 do
  local rate, burst = tonumber(ARGV[2 + 4 * n]), tonumber(ARGV[3 + 4 * n])
  local ask, least = tonumber(ARGV[4 + 4 * n]), tonumber(ARGV[5 + 4 * n])
  if n == 1 then
    if limit > 0 then
      want = math.max(math.min(want, limit - others - mine), 0)
    end
    ask = want
  end
  granted[n], waits[n] = ask, 0
  if rate > 0 then
    local tokens = burst
    if have['n' .. n] then
      tokens = math.min(burst, have['n' .. n] + math.max(now - have['t' .. n], 0) * rate / 1000)
    end
    if ask < 0 then
      granted[n], tokens = 0, math.min(burst, tokens - ask)
    else
      granted[n] = math.min(ask, math.floor(tokens))
      if granted[n] < least then
        granted[n] = 0
      end
      tokens = tokens - granted[n]
      if granted[n] < ask then
        waits[n] = math.max(math.ceil((least - tokens) * 1000 / rate), 1)
      end
    end
    if tokens < burst then
      redis.call('HSET', key, 'n' .. n, string.format('%.6f', tokens), 't' .. n, string.format('%.3f', now))
    else
      redis.call('HDEL', key, 'n' .. n, 't' .. n)
    end
    keep = math.max(keep, (burst - tokens) * 1000 / rate)
  end
  if n == 1 then
    want = granted[1]
  end
end

if mine + want > 0 and limit > 0 then
  redis.call('HSET', key, me, string.format('%.0f', mine + want))
else
  redis.call('HDEL', key, me)
end
if others + mine + want > 0 and limit > 0 then
  keep = math.max(keep, tonumber(ARGV[5]))
end
if keep > 0 then
  redis.call('PEXPIRE', key, string.format('%.0f', math.min(math.ceil(keep), 86400000)))
end

local reply = {want}
for n = 1, 3 do
  reply[#reply + 1] = granted[n]
  reply[#reply + 1] = waits[n]
end
if want < tonumber(ARGV[3]) then
  for _, owner in ipairs(owners) do
    reply[#reply + 1] = owner
  end
end
return reply
