-- Hand the conversation over in the middle of a turn, ringing for another worker; that attempt does not count as a
-- crash. Safe to repeat: the epoch moves on.
-- KEYS: lease, control, doorbell. ARGV: epoch, inbox entry, ring
if redis.call('HGET', KEYS[2], 'ep') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if redis.call('HEXISTS', KEYS[2], 'at:' .. ARGV[2]) == 1 then
  redis.call('HINCRBY', KEYS[2], 'at:' .. ARGV[2], -1)
end
redis.call('HINCRBY', KEYS[2], 'ep', 1)
redis.call('HDEL', KEYS[2], 'tok')
redis.call('RPUSH', KEYS[3], ARGV[3])
return 1
