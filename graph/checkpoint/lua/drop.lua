-- Delete some checkpoints of a namespace. KEYS: control, n. ARGV: epoch, namespace, id …
if not check_fence(KEYS[1], ARGV[1]) then return redis.error_reply('FENCED') end
local ids = {}
for n = 3, #ARGV do ids[#ids + 1] = ARGV[n] end
return drop_checkpoints(KEYS[2], ARGV[2], ids)
