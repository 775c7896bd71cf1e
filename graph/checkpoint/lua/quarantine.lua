-- Set a thread's checkpoints aside. Safe to repeat: what was moved is gone from its old place.
-- KEYS: control, n, n of those set aside. ARGV: epoch, seconds until they are deleted
-- Returns: number of keys moved
if not check_fence(KEYS[1], ARGV[1]) then return redis.error_reply('FENCED') end
local spaces = redis.call('SMEMBERS', KEYS[2])
if #spaces == 0 then return 0 end
local moved = 0
for _, ns in ipairs(spaces) do
  local from, to = keys_of(KEYS[2], ns), keys_of(KEYS[3], ns)
  for _, kind in ipairs(KINDS) do
    if redis.call('EXISTS', from[kind]) == 1 then
      redis.call('RENAME', from[kind], to[kind])
      redis.call('EXPIRE', to[kind], ARGV[2])
      moved = moved + 1
    end
  end
end
redis.call('SUNIONSTORE', KEYS[3], KEYS[2], KEYS[3])
redis.call('EXPIRE', KEYS[3], ARGV[2])
redis.call('UNLINK', KEYS[2])
return moved
