-- Hand the conversation over in the middle of a turn, ringing for another worker; that attempt does not count as a
-- crash. Safe to repeat: the epoch moves on.
if redis.call('HGET', control, 'ep') ~= epoch then return 0 end
redis.call('DEL', lease)
if redis.call('HEXISTS', control, 'at:' .. entry) == 1 then
  redis.call('HINCRBY', control, 'at:' .. entry, -1)
end
redis.call('HINCRBY', control, 'ep', 1)
redis.call('HDEL', control, 'tok')
redis.call('RPUSH', doorbell, ring)
return 1
