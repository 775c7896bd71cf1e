-- Shared by every script: prepended to each of them. Then come the names of its keys and arguments, made from its
-- declaration in core/store/scripts.py.
-- Entries travel to readers as one publication: fields split by 0x1f, entries by 0x1e. The payloads are
-- JSON, which escapes both.
local function announce(channel, thread, parts)
  if #parts > 0 then redis.call('PUBLISH', channel, thread .. '\30' .. table.concat(parts, '\30')) end
end

-- The journal keeps a run without the thread that its id begins with (core/conversations/journal.py adds it again).
local function append(journal, maxlen, run, kind, payload, parts)
  local short = string.match(run, '^[^.]*%.(.+)$') or run
  local id = redis.call('XADD', journal, 'MAXLEN', '~', maxlen, '*', 'r', short, 't', kind, 'd', payload)
  parts[#parts + 1] = id .. '\31' .. run .. '\31' .. kind .. '\31' .. payload
  return id
end

local function expire(ttl, names)
  if ttl ~= '' then
    for _, name in ipairs(names) do redis.call('EXPIRE', name, ttl) end
  end
end

-- Take the head of the inbox under a new epoch, or let the lease go when there is none.
-- k: lease, control, inbox, journal, meta, pending.
-- a: owner, lease_ms, maxlen, thread, cancel key prefix, channel prefix, token
-- The token names one attempt to claim: repeated with it because a reply was lost, the claim is answered
-- again and counts once.
local function claim_next(k, a)
  local head = redis.call('XRANGE', k.inbox, '-', '+', 'COUNT', 1)[1]
  local about = redis.call('HMGET', k.meta, 'user', 'ttl')
  local user = about[1] or ''
  local ttl = about[2] or ''
  if not head or user == '' then
    redis.call('DEL', k.lease, k.inbox)
    redis.call('HDEL', k.pending, a.thread)
    -- A renewal that is still on its way must not bring the lease back.
    if redis.call('EXISTS', k.control) == 1 then redis.call('HINCRBY', k.control, 'ep', 1) end
    redis.call('HDEL', k.control, 'run', 'tok')
    return {'empty'}
  end
  local field = {}
  for i = 1, #head[2], 2 do field[head[2][i]] = head[2][i + 1] end
  redis.call('SET', k.lease, a.owner, 'PX', a.lease_ms)
  local known = redis.call('HMGET', k.control, 'tok', 'ep', 'no:' .. head[1], 'at:' .. head[1])
  if known[1] == a.token then
    local stop = redis.call('EXISTS', a.cancel .. field.r)
    return {'turn', tonumber(known[2]), head[1], field.i, field.r, field.p, tonumber(known[3]), tonumber(known[4]),
      stop, user, ttl}
  end
  local epoch = redis.call('HINCRBY', k.control, 'ep', 1)
  -- 'at' counts what may be crashes (a hand-over takes one back), 'no' numbers the attempts for readers.
  local crashes = redis.call('HINCRBY', k.control, 'at:' .. head[1], 1)
  local attempt = redis.call('HINCRBY', k.control, 'no:' .. head[1], 1)
  redis.call('HSET', k.control, 'sq', 0, 'run', field.r, 'tok', a.token)
  local parts = {}
  append(k.journal, a.maxlen, field.r, 'turn_started',
    '{"message_id":' .. cjson.encode(field.i) .. ',"attempt":' .. attempt .. '}', parts)
  announce(a.channel .. user, a.thread, parts)
  expire(ttl, {k.control, k.inbox, k.journal, k.meta})
  local cancelled = redis.call('EXISTS', a.cancel .. field.r)
  return {'turn', epoch, head[1], field.i, field.r, field.p, attempt, crashes, cancelled, user, ttl}
end
