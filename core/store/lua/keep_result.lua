-- Keep a long tool result; the oldest ones go when there are too many. Safe to repeat.
-- Field 'order' lists what there is, oldest first: [[name, bytes], ...]; names of results begin with 'r'.
if redis.call('HGET', control, 'ep') ~= epoch then return redis.error_reply('FENCED') end
local order, bytes, fresh = {}, tonumber(size), {name, tonumber(size)}
for _, known in ipairs(cjson.decode(redis.call('HGET', kept, 'order') or '[]')) do
  if known[1] ~= name then
    order[#order + 1] = known
    bytes = bytes + known[2]
  end
end
while #order >= tonumber(most_results) or (#order > 0 and bytes > tonumber(most_bytes)) do
  local gone = table.remove(order, 1)
  bytes = bytes - gone[2]
  redis.call('HDEL', kept, gone[1])
end
order[#order + 1] = fresh
redis.call('HSET', kept, name, text, 'order', cjson.encode(order))
expire(ttl, {kept})
return 1
