-- Remove a conversation but for its checkpoints, note that those are to be erased, and tell those who read it.
-- Safe to repeat: what is gone is told once.
-- KEYS: deleted threads, pending, the user's threads, all keys of the thread, meta first. ARGV: user, thread, channel, name of the journal among the keys
-- Returns: 1 | 0 when it is not there, or not this user's.
if redis.call('HGET', KEYS[4], 'user') ~= ARGV[1] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = redis.call('XREVRANGE', ARGV[4], '+', '-', 'COUNT', 1)[1]
-- Later than all that was told before, also when the clock was set back.
local id = string.format('%.0f-0', now)
if last then
  local ms, number = string.match(last[1], '(%d+)%-(%d+)')
  if tonumber(ms) >= now then id = ms .. '-' .. (tonumber(number) + 1) end
end
-- First: a full server refuses a script's first write only if that takes memory.
redis.call('UNLINK', unpack(KEYS, 4))
redis.call('SADD', KEYS[1], ARGV[2])
redis.call('HDEL', KEYS[2], ARGV[2])
redis.call('ZREM', KEYS[3], ARGV[2])
announce(ARGV[3], ARGV[2], {id .. '\31\31thread_deleted\31{}'})
return 1
