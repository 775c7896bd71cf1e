-- Take the conversation and its oldest message, unless somebody else holds it.
-- Returns: {'busy', ms left} | {'empty'} | {'turn', …}
-- Safe to repeat: with the same token it gives the same turn under the same epoch, counted once.
local holder = redis.call('GET', lease)
if holder and holder ~= owner then
  local left = redis.call('PTTL', lease)
  -- It was made for less: the clock has gone back since, and its worker may be dead. One that lives renews it.
  if left > tonumber(lease_ms) then
    redis.call('PEXPIRE', lease, lease_ms)
    left = tonumber(lease_ms)
  end
  return {'busy', left}
end
return claim_next(
  {lease = lease, control = control, inbox = inbox, journal = journal, meta = meta, pending = pending},
  {owner = owner, lease_ms = lease_ms, maxlen = maxlen, thread = thread, cancel = cancel_prefix,
    channel = channel_prefix, token = token})
