-- Keep the result of a call. Not fenced: it did happen, whoever holds the conversation now.
-- KEYS: calls. ARGV: call, record
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
