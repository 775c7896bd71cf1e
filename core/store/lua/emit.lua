-- Append events under the fence. Safe to repeat: the sequence number dedupes within the epoch.
-- KEYS: control, journal
-- ARGV: epoch, sequence, journal length, ttl, run, thread, channel, then type, payload …
local about = redis.call('HMGET', KEYS[1], 'ep', 'sq')
if about[1] ~= ARGV[1] then return redis.error_reply('FENCED') end
if tonumber(ARGV[2]) <= tonumber(about[2]) then return 0 end
local parts = {}
for i = 8, #ARGV, 2 do append(KEYS[2], ARGV[3], ARGV[5], ARGV[i], ARGV[i + 1], parts) end
redis.call('HSET', KEYS[1], 'sq', ARGV[2])
announce(ARGV[7], ARGV[6], parts)
expire(ARGV[4], {KEYS[2]})
return 1
