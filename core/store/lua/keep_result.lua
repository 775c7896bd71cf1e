-- Keep a long tool result; the oldest ones go when there are too many. Safe to repeat.
-- KEYS: control, kept. ARGV: epoch, name, text, bytes, ttl, most results, most bytes
-- Field 'order' lists what there is, oldest first: [[name, bytes], ...]; names of results begin with 'r'.
if redis.call('HGET', KEYS[1], 'ep') ~= ARGV[1] then return redis.error_reply('FENCED') end
local order, bytes, fresh = {}, tonumber(ARGV[4]), {ARGV[2], tonumber(ARGV[4])}
for _, known in ipairs(cjson.decode(redis.call('HGET', KEYS[2], 'order') or '[]')) do
  if known[1] ~= ARGV[2] then
    order[#order + 1] = known
    bytes = bytes + known[2]
  end
end
while #order >= tonumber(ARGV[6]) or (#order > 0 and bytes > tonumber(ARGV[7])) do
  local gone = table.remove(order, 1)
  bytes = bytes - gone[2]
  redis.call('HDEL', KEYS[2], gone[1])
end
order[#order + 1] = fresh
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3], 'order', cjson.encode(order))
expire(ARGV[5], {KEYS[2]})
return 1
