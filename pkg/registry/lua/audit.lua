-- Reads everything about a service, for the check of the invariants. It may read much: for tests and chaos runs only.
-- KEYS: 1 instances, 2 counts, 3 leases, 4 checksums, 5... hashes of pins that a scan found
-- ARGV: 1 the start of the names of hashes of pins
-- Returns: {{instance, entry, ...}, {instance, pins, ...}, {lease member, deadline, ...}, {lease member, checksum, ...},
--          {name of a hash without that start, {socket, instance, ...}, ...}}
-- Atomic because the invariants hold between scripts, not between reads.
local names, seen = {}, {}
local function add(name)
  if not seen[name] then
    seen[name] = true
    names[#names + 1] = name
  end
end
local leases = redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES')
for n = 1, #leases, 2 do
  if string.sub(leases[n], 1, 2) == 'g:' then
    add(string.sub(leases[n], 3))
  end
end
for n = 5, #KEYS do
  add(string.sub(KEYS[n], #ARGV[1] + 1))
end
local pins = {}
for _, name in ipairs(names) do
  pins[#pins + 1] = name
  pins[#pins + 1] = redis.call('HGETALL', ARGV[1] .. name)
end
return {
  redis.call('HGETALL', KEYS[1]),
  redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES'),
  leases,
  redis.call('HGETALL', KEYS[4]),
  pins,
}
