-- Replace a thread's checkpoints by those of dump.lua. KEYS: control, n. ARGV: epoch, ttl, kind, namespace, dump, …
if not check_fence(KEYS[1], ARGV[1]) then return redis.error_reply('FENCED') end
for _, ns in ipairs(redis.call('SMEMBERS', KEYS[2])) do drop_namespace(KEYS[2], ns) end
for n = 3, #ARGV, 3 do
  redis.call('RESTORE', keys_of(KEYS[2], ARGV[n + 1])[ARGV[n]], 0, ARGV[n + 2], 'REPLACE')
  redis.call('SADD', KEYS[2], ARGV[n + 1])
end
expire_thread(KEYS[2], ARGV[2])
return 1
