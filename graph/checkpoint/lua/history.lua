-- What the ancestors of a checkpoint contributed to some channels.
-- KEYS: i, c, b, w. ARGV: id or '' for the newest, then channel …
-- Returns: the span, nearest ancestor first
local id = ARGV[1]
if id == '' then id = redis.call('ZREVRANGEBYLEX', KEYS[1], '+', '-', 'LIMIT', 0, 1)[1] end
local record = id and redis.call('HGET', KEYS[2], id)
if not record then return {} end
local wanted = {}
for n = 2, #ARGV do wanted[ARGV[n]] = true end
return span({c = KEYS[2], b = KEYS[3], w = KEYS[4]}, head_of_record(record)[1], wanted)
