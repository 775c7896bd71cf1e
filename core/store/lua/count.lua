-- Add one call of the model to the counts of its thread and of its user's day. Not safe to repeat.
-- counts: name, count …
for i = 1, #counts, 2 do
  redis.call('HINCRBY', of_thread, counts[i], counts[i + 1])
  redis.call('HINCRBY', of_day, counts[i], counts[i + 1])
end
local about = redis.call('HMGET', meta, 'user', 'ttl')
expire(about[2] or (about[1] and '' or orphan_seconds), {of_thread})
expire(day_seconds, {of_day})
