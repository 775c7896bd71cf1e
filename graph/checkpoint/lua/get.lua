-- A checkpoint with all that is needed to rebuild its state.
-- KEYS: i, c, b, w. ARGV: id or '' for the newest
-- Returns: false | {id, record, blobs, batches of writes, span of its delta channels}
local id = ARGV[1]
if id == '' then
  id = redis.call('ZREVRANGEBYLEX', KEYS[1], '+', '-', 'LIMIT', 0, 1)[1]
  if not id then return false end
end
return read_checkpoint({i = KEYS[1], c = KEYS[2], b = KEYS[3], w = KEYS[4]}, id, true)
