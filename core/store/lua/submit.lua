-- Accept a message once, say that its thread has work, and ring. Safe to repeat: the message id dedupes,
-- and a bell that rings twice is answered once. A message seen before rings too: the first ring may be lost.
-- Returns: 1 accepted, 0 seen before, -1 no such thread of this user, -2 inbox full

-- An id above that of the last message that was ended. An emptied inbox is removed and forgets where it
-- was, and the clock may stand still or go back: the same id twice would end two messages at once.
local function next_id()
  local last = redis.call('EXISTS', inbox) == 0 and redis.call('HGET', control, 'last')
  if not last then return '*' end
  local ms, number = string.match(last, '^(%d+)-(%d+)$')
  local now = redis.call('TIME')
  if tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) > tonumber(ms) then return '*' end
  return ms .. '-' .. (tonumber(number) + 1)
end

if redis.call('HGET', meta, 'user') ~= user then return -1 end
local oldest = tonumber(now_ms) - tonumber(keep_ids_ms)
local known = redis.call('ZSCORE', seen, message)
local fresh = not known or tonumber(known) <= oldest
if fresh then
  if redis.call('XLEN', inbox) >= tonumber(max_inbox) then return -2 end
  -- Written first: a full server refuses a script's first write only if that takes memory, and then none.
  redis.call('XADD', inbox, next_id(), 'i', message, 'r', run, 'p', payload)
  redis.call('ZREMRANGEBYSCORE', seen, '-inf', oldest)
  redis.call('ZADD', seen, now_ms, message)
  redis.call('PEXPIRE', seen, keep_ids_ms)
  redis.call('HSETNX', meta, 'title', title)
  redis.call('HSET', meta, 'updated_at', now_ms)
  redis.call('ZADD', user_threads, 'XX', now_ms, thread)
  expire(redis.call('HGET', meta, 'ttl') or '', {meta, inbox, seen})
end
redis.call('HSET', pending, thread, message)
redis.call('RPUSH', doorbell, ring)
redis.call('LTRIM', doorbell, -longest_bell, -1)
return fresh and 1 or 0
