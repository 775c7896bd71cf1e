-- Accept a message once, say that its thread has work, and ring. Safe to repeat: the message id dedupes,
-- and a bell that rings twice is answered once. A message seen before rings too: the first ring may be lost.
-- KEYS: meta, inbox, seen, control, pending, doorbell, the user's threads
-- ARGV: user, message id, run id, payload, max inbox, now ms, keep ids ms, title, thread, ring, longest bell
-- Returns: 1 accepted, 0 seen before, -1 no such thread of this user, -2 inbox full

-- An id above that of the last message that was ended. An emptied inbox is removed and forgets where it
-- was, and the clock may stand still or go back: the same id twice would end two messages at once.
local function next_id()
  local last = redis.call('EXISTS', KEYS[2]) == 0 and redis.call('HGET', KEYS[4], 'last')
  if not last then return '*' end
  local ms, number = string.match(last, '^(%d+)-(%d+)$')
  local now = redis.call('TIME')
  if tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) > tonumber(ms) then return '*' end
  return ms .. '-' .. (tonumber(number) + 1)
end

if redis.call('HGET', KEYS[1], 'user') ~= ARGV[1] then return -1 end
local oldest = tonumber(ARGV[6]) - tonumber(ARGV[7])
local seen = redis.call('ZSCORE', KEYS[3], ARGV[2])
local fresh = not seen or tonumber(seen) <= oldest
if fresh then
  if redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[5]) then return -2 end
  -- Written first: a full server refuses a script's first write only if that takes memory, and then none.
  redis.call('XADD', KEYS[2], next_id(), 'i', ARGV[2], 'r', ARGV[3], 'p', ARGV[4])
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', oldest)
  redis.call('ZADD', KEYS[3], ARGV[6], ARGV[2])
  redis.call('PEXPIRE', KEYS[3], ARGV[7])
  redis.call('HSETNX', KEYS[1], 'title', ARGV[8])
  redis.call('HSET', KEYS[1], 'updated_at', ARGV[6])
  redis.call('ZADD', KEYS[7], 'XX', ARGV[6], ARGV[9])
  expire(redis.call('HGET', KEYS[1], 'ttl') or '', {KEYS[1], KEYS[2], KEYS[3]})
end
redis.call('HSET', KEYS[5], ARGV[9], ARGV[2])
redis.call('RPUSH', KEYS[6], ARGV[10])
redis.call('LTRIM', KEYS[6], -ARGV[11], -1)
return fresh and 1 or 0
