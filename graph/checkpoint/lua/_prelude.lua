-- Shared by every script of the saver: prepended to each of them. Then come the names of its keys and arguments, made
-- from its declaration in graph/checkpoint/scripts.py.
-- Each namespace of a thread has four keys, told apart by one letter:
--   i  sorted set of checkpoint ids, all with score 0, so in the order of the ids
--   c  hash  id -> record: length of the head (4 bytes), head, body. The head is a msgpack array:
--        1 parent id or ''   2 words   3 channels: word, version word, state, …   4 delta words
--        states: 0 no value, 1 a blob, 2 a small value inside the body. Words count from 0.
--   b  hash  channel \0 version -> value
--   w  hash  id -> number of batches of writes; id \0 number -> batch
-- Key n is the set of the thread's namespaces.
local KINDS = {'i', 'c', 'b', 'w'}

local function head_of_record(record)
  local ok, _, head = pcall(cmsgpack.unpack_one, record, 4)
  if not ok or type(head) ~= 'table' or #head ~= 4 then error('UNREADABLE') end
  return head
end

local function check_fence(control, epoch)
  -- Of a deleted thread there is no epoch: its worker must not write what was just erased.
  return epoch == '' or redis.call('HGET', control, 'ep') == epoch
end

-- The keys of a namespace, from the name of key n: both are made by core.store.keys.checkpoint.
local function keys_of(names, ns)
  local base = string.sub(names, 1, -3)
  local found = {}
  for _, kind in ipairs(KINDS) do found[kind] = base .. kind .. ':' .. ns end
  return found
end

-- A thread expires as a whole: half of its keys would be worse than none.
local function expire_thread(names, ttl)
  if ttl == '' then return end
  redis.call('EXPIRE', names, ttl)
  for _, ns in ipairs(redis.call('SMEMBERS', names)) do
    for _, key in pairs(keys_of(names, ns)) do redis.call('EXPIRE', key, ttl) end
  end
end

-- Lua's unpack gives up near 8000 values.
local function chunked(command, key, items)
  local out = {}
  for from = 1, #items, 4000 do
    local to = math.min(from + 3999, #items)
    local answer = redis.call(command, key, unpack(items, from, to))
    if type(answer) == 'table' then
      for n = 1, to - from + 1 do out[from + n - 1] = answer[n] end
    end
  end
  return out
end

local function blob_fields(head)
  local words, channels, fields = head[2], head[3], {}
  for n = 1, #channels, 3 do
    if channels[n + 2] == 1 then
      fields[#fields + 1] = words[channels[n] + 1] .. '\0' .. words[channels[n + 1] + 1]
    end
  end
  return fields
end

local function delta_channels(head)
  local wanted = {}
  for _, word in ipairs(head[4]) do wanted[head[2][word + 1]] = true end
  return wanted
end

local function write_fields(key, id)
  local fields = {}
  for n = 1, tonumber(redis.call('HGET', key, id) or 0) do fields[n] = id .. '\0' .. n end
  return fields
end

local function writes_of(key, id)
  return chunked('HMGET', key, write_fields(key, id))
end

-- What the ancestors from `id` on contributed to the wanted channels, nearest first, each channel back
-- to where its value is stored: {id, batches, record or false, {channel, blob or false, …}}
local function span(ks, id, wanted)
  local out = {}
  while id ~= '' and next(wanted) do
    local record = redis.call('HGET', ks.c, id)
    if not record then break end
    local head = head_of_record(record)
    local words, channels, seeds, inside = head[2], head[3], {}, false
    for n = 1, #channels, 3 do
      local channel, state = words[channels[n] + 1], channels[n + 2]
      if state > 0 and wanted[channel] then
        local blob = state == 1 and redis.call('HGET', ks.b, channel .. '\0' .. words[channels[n + 1] + 1])
        if blob or state == 2 then
          wanted[channel] = nil
          inside = inside or state == 2
          seeds[#seeds + 1] = channel
          seeds[#seeds + 1] = blob
        end
      end
    end
    out[#out + 1] = {id, writes_of(ks.w, id), inside and record or false, seeds}
    id = head[1]
  end
  return out
end

local function read_checkpoint(ks, id, with_span)
  local record = redis.call('HGET', ks.c, id)
  if not record then return false end
  local head = head_of_record(record)
  local ancestors = with_span and span(ks, head[1], delta_channels(head)) or {}
  return {id, record, chunked('HMGET', ks.b, blob_fields(head)), writes_of(ks.w, id), ancestors}
end

local function drop_namespace(names, ns)
  for _, key in pairs(keys_of(names, ns)) do redis.call('UNLINK', key) end
  redis.call('SREM', names, ns)
end

local function drop_unused_blobs(ks)
  local used, dead = {}, {}
  for _, record in ipairs(redis.call('HVALS', ks.c)) do
    for _, field in ipairs(blob_fields(head_of_record(record))) do used[field] = true end
  end
  for _, field in ipairs(redis.call('HKEYS', ks.b)) do
    if not used[field] then dead[#dead + 1] = field end
  end
  chunked('HDEL', ks.b, dead)
end

-- Writes whose checkpoint never came, because the process died in between. A checkpoint that is still
-- on its way is newer than all others.
local function drop_orphaned_writes(ks)
  local dead = {}
  for _, field in ipairs(redis.call('HKEYS', ks.w)) do
    if not string.find(field, '\0', 1, true) and redis.call('HEXISTS', ks.c, field) == 0
      and redis.call('ZLEXCOUNT', ks.i, '(' .. field, '+') > 0 then
      for _, batch in ipairs(write_fields(ks.w, field)) do dead[#dead + 1] = batch end
      dead[#dead + 1] = field
    end
  end
  chunked('HDEL', ks.w, dead)
end

local function drop_checkpoints(names, ns, ids)
  if #ids == 0 then return 0 end
  local ks = keys_of(names, ns)
  chunked('ZREM', ks.i, ids)
  if redis.call('ZCARD', ks.i) == 0 then
    drop_namespace(names, ns)
    return #ids
  end
  chunked('HDEL', ks.c, ids)
  local dead = {}
  for _, id in ipairs(ids) do
    for _, field in ipairs(write_fields(ks.w, id)) do dead[#dead + 1] = field end
    dead[#dead + 1] = id
  end
  chunked('HDEL', ks.w, dead)
  drop_unused_blobs(ks)
  drop_orphaned_writes(ks)
  return #ids
end

-- Store a checkpoint and its new values.
-- values: blob name, blob, …, from number `first` on
local function put(keys, args, values, first)
  local control, names, index, records, blobs = unpack(keys)
  local epoch, ttl, ns, id, record = unpack(args, 1, 5)
  if not check_fence(control, epoch) then return redis.error_reply('FENCED') end
  for n = first, #values, 2 do redis.call('HSET', blobs, values[n], values[n + 1]) end
  redis.call('HSET', records, id, record)
  redis.call('ZADD', index, 0, id)
  redis.call('SADD', names, ns)
  expire_thread(names, ttl)
  return 1
end

-- Append a batch of writes to a checkpoint, which may not have arrived yet.
local function put_writes(keys, args)
  local control, names, writes = unpack(keys)
  local epoch, ttl, ns, id, batch = unpack(args)
  if not check_fence(control, epoch) then return redis.error_reply('FENCED') end
  local number = redis.call('HINCRBY', writes, id, 1)
  redis.call('HSET', writes, id .. '\0' .. number, batch)
  if number == 1 then redis.call('SADD', names, ns) end
  expire_thread(names, ttl)
  return number
end
