-- A checkpoint with all that is needed to rebuild its state.
-- id: '' for the newest
-- Returns: false | {id, record, blobs, batches of writes, span of its delta channels}
if id == '' then
  id = redis.call('ZREVRANGEBYLEX', index, '+', '-', 'LIMIT', 0, 1)[1]
  if not id then return false end
end
return read_checkpoint({i = index, c = records, b = blobs, w = writes}, id, true)
