-- Remove a conversation but for its checkpoints, note that those are to be erased, and tell those who read it.
-- Safe to repeat: what is gone is told once.
-- names: all keys of the thread
-- Returns: 1 | 0 when it is not there, or not this user's.
if redis.call('HGET', meta, 'user') ~= user then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = redis.call('XREVRANGE', journal, '+', '-', 'COUNT', 1)[1]
-- Later than all that was told before, also when the clock was set back.
local id = string.format('%.0f-0', now)
if last then
  local ms, number = string.match(last[1], '(%d+)%-(%d+)')
  if tonumber(ms) >= now then id = ms .. '-' .. (tonumber(number) + 1) end
end
-- First: a full server refuses a script's first write only if that takes memory.
redis.call('UNLINK', unpack(names))
redis.call('SADD', deleted, thread)
redis.call('HDEL', pending, thread)
redis.call('ZREM', user_threads, thread)
announce(channel, thread, {id .. '\31\31thread_deleted\31{}'})
return 1
