-- Delete a thread's checkpoints, also those set aside
local removed = 0
for _, set in ipairs({names, aside}) do
  for _, ns in ipairs(redis.call('SMEMBERS', set)) do
    for _, key in pairs(keys_of(set, ns)) do removed = removed + redis.call('UNLINK', key) end
  end
  removed = removed + redis.call('UNLINK', set)
end
return removed
