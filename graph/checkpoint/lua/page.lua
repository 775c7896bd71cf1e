-- Some checkpoints of a namespace, newest first.
-- KEYS: i, c, b, w. ARGV: upper end of the ids as in ZREVRANGEBYLEX, most results
-- Returns: {checkpoint as in get.lua, …}
local out = {}
for _, id in ipairs(redis.call('ZREVRANGEBYLEX', KEYS[1], ARGV[1], '-', 'LIMIT', 0, ARGV[2])) do
  out[#out + 1] = read_checkpoint({i = KEYS[1], c = KEYS[2], b = KEYS[3], w = KEYS[4]}, id, false) or nil
end
return out
