-- Append events under the fence. Safe to repeat: the sequence number dedupes within the epoch.
-- events: type, payload …
local about = redis.call('HMGET', control, 'ep', 'sq')
if about[1] ~= epoch then return redis.error_reply('FENCED') end
if tonumber(sequence) <= tonumber(about[2]) then return 0 end
local parts = {}
for i = 1, #events, 2 do append(journal, maxlen, run, events[i], events[i + 1], parts) end
redis.call('HSET', control, 'sq', sequence)
announce(channel, thread, parts)
expire(ttl, {journal})
return 1
