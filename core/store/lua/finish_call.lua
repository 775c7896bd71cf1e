-- Keep the result of a call. Not fenced: it did happen, whoever holds the conversation now.
if redis.call('HEXISTS', calls, call) == 0 then return 0 end
redis.call('HSET', calls, call, record)
return 1
