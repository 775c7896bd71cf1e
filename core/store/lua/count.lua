-- Add one call of the model to the counts of its thread and of its user's day. Not safe to repeat.
-- KEYS: meta, thread's counts, day's counts. ARGV: seconds for a thread that is gone, seconds of a day, name, count …
for i = 3, #ARGV, 2 do
  redis.call('HINCRBY', KEYS[2], ARGV[i], ARGV[i + 1])
  redis.call('HINCRBY', KEYS[3], ARGV[i], ARGV[i + 1])
end
local about = redis.call('HMGET', KEYS[1], 'user', 'ttl')
expire(about[2] or (about[1] and '' or ARGV[1]), {KEYS[2]})
expire(ARGV[2], {KEYS[3]})
