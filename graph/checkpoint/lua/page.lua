-- Some checkpoints of a namespace, newest first.
-- upper: end of the ids as in ZREVRANGEBYLEX
-- Returns: {checkpoint as in get.lua, …}
local out = {}
for _, id in ipairs(redis.call('ZREVRANGEBYLEX', index, upper, '-', 'LIMIT', 0, most)) do
  out[#out + 1] = read_checkpoint({i = index, c = records, b = blobs, w = writes}, id, false) or nil
end
return out
