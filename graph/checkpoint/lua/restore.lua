-- Replace a thread's checkpoints by those of dump.lua.
-- dumps: kind, namespace, dump, …
if not check_fence(control, epoch) then return redis.error_reply('FENCED') end
for _, ns in ipairs(redis.call('SMEMBERS', names)) do drop_namespace(names, ns) end
for n = 1, #dumps, 3 do
  redis.call('RESTORE', keys_of(names, dumps[n + 1])[dumps[n]], 0, dumps[n + 2], 'REPLACE')
  redis.call('SADD', names, dumps[n + 1])
end
expire_thread(names, ttl)
return 1
