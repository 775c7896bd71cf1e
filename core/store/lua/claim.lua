-- Take the conversation and its oldest message, unless somebody else holds it.
-- KEYS: lease, control, inbox, journal, meta, pending
-- ARGV: owner, lease ms, journal length, thread, cancel key prefix, channel prefix, token, profile key
--       pattern
-- Returns: {'busy', ms left} | {'empty'} | {'turn', …}
-- Safe to repeat: with the same token it gives the same turn under the same epoch, counted once.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  local left = redis.call('PTTL', KEYS[1])
  -- It was made for less: the clock has gone back since, and its worker may be dead. One that lives renews it.
  if left > tonumber(ARGV[2]) then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    left = tonumber(ARGV[2])
  end
  return {'busy', left}
end
return claim_next(
  {lease = KEYS[1], control = KEYS[2], inbox = KEYS[3], journal = KEYS[4], meta = KEYS[5],
    pending = KEYS[6]},
  {owner = ARGV[1], lease_ms = ARGV[2], maxlen = ARGV[3], thread = ARGV[4], cancel = ARGV[5], channel = ARGV[6],
    token = ARGV[7], profile = ARGV[8]})
