-- End a turn: last events, transcript, inbox, all at once; then take the next message or let go, ringing for
-- another worker if there is one.
-- Safe to repeat: `last` names the entry that was ended, so a second call writes nothing, and the token
-- gives the same next turn again.
-- lasting: keys that expire with the thread. rest: as many records as count says, then type and payload of each event
if redis.call('HGET', control, 'last') ~= entry then
  if redis.call('HGET', control, 'ep') ~= epoch then return redis.error_reply('FENCED') end
  redis.call('XDEL', inbox, entry)
  redis.call('HDEL', control, 'at:' .. entry, 'no:' .. entry)
  redis.call('HSET', control, 'last', entry)
  local records = tonumber(count)
  for i = 1, records do redis.call('RPUSH', transcript, rest[i]) end
  local parts = {}
  for i = records + 1, #rest, 2 do append(journal, maxlen, run, rest[i], rest[i + 1], parts) end
  -- Never those of this turn, even if the clock jumped: its message came before them.
  local oldest = math.min((redis.call('TIME')[1] - keep_seconds) * 1000, tonumber(string.match(entry, '^%d+')))
  redis.call('XTRIM', journal, 'MINID', '~', string.format('%.0f', oldest))
  announce(channel_prefix .. user, thread, parts)
  redis.call('DEL', calls, cancel_prefix .. run)
  expire(ttl, lasting)
end
local holder = redis.call('GET', lease)
if holder and holder ~= owner then return {'busy', redis.call('PTTL', lease)} end
if take_next == '0' then
  redis.call('DEL', lease)
  redis.call('HINCRBY', control, 'ep', 1)
  redis.call('HDEL', control, 'run', 'tok')
  if redis.call('XLEN', inbox) > 0 then
    redis.call('RPUSH', doorbell, thread .. '\31' .. user)
    return {'more'}
  end
  redis.call('DEL', inbox)
  redis.call('HDEL', pending, thread)
  return {'empty'}
end
return claim_next(
  {lease = lease, control = control, inbox = inbox, journal = journal, meta = meta, pending = pending},
  {owner = owner, lease_ms = lease_ms, maxlen = maxlen, thread = thread, cancel = cancel_prefix,
    channel = channel_prefix, token = token})
