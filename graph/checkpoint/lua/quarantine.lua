-- Set a thread's checkpoints aside. Safe to repeat: what was moved is gone from its old place.
-- seconds: until they are deleted
-- Returns: number of keys moved
if not check_fence(control, epoch) then return redis.error_reply('FENCED') end
local spaces = redis.call('SMEMBERS', names)
if #spaces == 0 then return 0 end
local moved = 0
for _, ns in ipairs(spaces) do
  local from, to = keys_of(names, ns), keys_of(aside, ns)
  for _, kind in ipairs(KINDS) do
    if redis.call('EXISTS', from[kind]) == 1 then
      redis.call('RENAME', from[kind], to[kind])
      redis.call('EXPIRE', to[kind], seconds)
      moved = moved + 1
    end
  end
end
redis.call('SUNIONSTORE', aside, names, aside)
redis.call('EXPIRE', aside, seconds)
redis.call('UNLINK', names)
return moved
