-- Takes announcements back at once.
-- KEYS: 1 announcements, 2 routes, 3 leases, 4 clock, 5 version
-- ARGV: 1 channel, 2... members
-- Returns: {"ok"}
-- Atomic because the routes must follow from the announcements at every moment.
local members = {}
for n = 2, #ARGV do
  members[#members + 1] = ARGV[n]
end
remove(members, ARGV[1])
return {'ok'}
