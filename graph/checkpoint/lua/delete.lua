-- Delete a thread's checkpoints, also those set aside. KEYS: n, n of those set aside
local removed = 0
for _, names in ipairs(KEYS) do
  for _, ns in ipairs(redis.call('SMEMBERS', names)) do
    for _, key in pairs(keys_of(names, ns)) do removed = removed + redis.call('UNLINK', key) end
  end
  removed = removed + redis.call('UNLINK', names)
end
return removed
