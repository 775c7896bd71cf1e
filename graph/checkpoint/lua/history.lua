-- What the ancestors of a checkpoint contributed to some channels.
-- id: '' for the newest
-- Returns: the span, nearest ancestor first
if id == '' then id = redis.call('ZREVRANGEBYLEX', index, '+', '-', 'LIMIT', 0, 1)[1] end
local record = id and redis.call('HGET', records, id)
if not record then return {} end
local wanted = {}
for _, channel in ipairs(channels) do wanted[channel] = true end
return span({c = records, b = blobs, w = writes}, head_of_record(record)[1], wanted)
