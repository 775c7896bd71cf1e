-- End a turn: last events, transcript, inbox, all at once; then take the next message or let go.
-- Safe to repeat: `last` names the entry that was ended, so a second call writes nothing.
-- KEYS: lease, control, inbox, journal, meta, transcript
-- ARGV: owner, lease ms, journal length, thread, cancel key prefix, channel prefix,
--       epoch, inbox entry, run, user, ttl, take next (1/0), number of records, records …, type, payload …
local entry = ARGV[8]
if redis.call('HGET', KEYS[2], 'last') ~= entry then
  if redis.call('HGET', KEYS[2], 'ep') ~= ARGV[7] then return redis.error_reply('FENCED') end
  redis.call('XDEL', KEYS[3], entry)
  redis.call('HDEL', KEYS[2], 'at:' .. entry, 'no:' .. entry)
  redis.call('HSET', KEYS[2], 'last', entry)
  local records = tonumber(ARGV[13])
  for i = 1, records do redis.call('RPUSH', KEYS[6], ARGV[13 + i]) end
  local parts = {}
  for i = 14 + records, #ARGV, 2 do append(KEYS[4], ARGV[3], ARGV[9], ARGV[i], ARGV[i + 1], parts) end
  announce(ARGV[6] .. ARGV[10], ARGV[4], parts)
  redis.call('DEL', ARGV[5] .. ARGV[9])
  expire(ARGV[11], {KEYS[2], KEYS[4], KEYS[5], KEYS[6]})
end
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return {'busy', redis.call('PTTL', KEYS[1])} end
if ARGV[12] == '0' then
  redis.call('DEL', KEYS[1])
  redis.call('HINCRBY', KEYS[2], 'ep', 1)
  redis.call('HDEL', KEYS[2], 'run')
  return {redis.call('XLEN', KEYS[3]) > 0 and 'more' or 'empty'}
end
return claim_next(
  {lease = KEYS[1], control = KEYS[2], inbox = KEYS[3], journal = KEYS[4], meta = KEYS[5]},
  {owner = ARGV[1], lease_ms = ARGV[2], maxlen = ARGV[3], thread = ARGV[4], cancel = ARGV[5], channel = ARGV[6]})
