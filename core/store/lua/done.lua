-- End a turn: last events, transcript, inbox, all at once; then take the next message or let go, ringing for
-- another worker if there is one.
-- Safe to repeat: `last` names the entry that was ended, so a second call writes nothing, and the token
-- gives the same next turn again.
-- KEYS: lease, control, inbox, journal, meta, pending, transcript, calls, doorbell,
--       keys that expire with the thread …
-- ARGV: owner, lease ms, journal length, thread, cancel key prefix, channel prefix, token, profile key
--       pattern, epoch, inbox entry, run, user, ttl, take next (1/0), seconds that events are kept, number of records,
--       records …, type, payload …
local entry = ARGV[10]
if redis.call('HGET', KEYS[2], 'last') ~= entry then
  if redis.call('HGET', KEYS[2], 'ep') ~= ARGV[9] then return redis.error_reply('FENCED') end
  redis.call('XDEL', KEYS[3], entry)
  redis.call('HDEL', KEYS[2], 'at:' .. entry, 'no:' .. entry)
  redis.call('HSET', KEYS[2], 'last', entry)
  local records = tonumber(ARGV[16])
  for i = 1, records do redis.call('RPUSH', KEYS[7], ARGV[16 + i]) end
  local parts = {}
  for i = 17 + records, #ARGV, 2 do append(KEYS[4], ARGV[3], ARGV[11], ARGV[i], ARGV[i + 1], parts) end
  -- Never those of this turn, even if the clock jumped: its message came before them.
  local oldest = math.min((redis.call('TIME')[1] - ARGV[15]) * 1000, tonumber(string.match(entry, '^%d+')))
  redis.call('XTRIM', KEYS[4], 'MINID', '~', string.format('%.0f', oldest))
  announce(ARGV[6] .. ARGV[12], ARGV[4], parts)
  redis.call('DEL', KEYS[8], ARGV[5] .. ARGV[11])
  expire(ARGV[13], {unpack(KEYS, 10)})
end
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return {'busy', redis.call('PTTL', KEYS[1])} end
if ARGV[14] == '0' then
  redis.call('DEL', KEYS[1])
  redis.call('HINCRBY', KEYS[2], 'ep', 1)
  redis.call('HDEL', KEYS[2], 'run', 'tok')
  if redis.call('XLEN', KEYS[3]) > 0 then
    redis.call('RPUSH', KEYS[9], ARGV[4] .. '\31' .. ARGV[12])
    return {'more'}
  end
  redis.call('DEL', KEYS[3])
  redis.call('HDEL', KEYS[6], ARGV[4])
  return {'empty'}
end
return claim_next(
  {lease = KEYS[1], control = KEYS[2], inbox = KEYS[3], journal = KEYS[4], meta = KEYS[5],
    pending = KEYS[6]},
  {owner = ARGV[1], lease_ms = ARGV[2], maxlen = ARGV[3], thread = ARGV[4], cancel = ARGV[5], channel = ARGV[6],
    token = ARGV[7], profile = ARGV[8]})
