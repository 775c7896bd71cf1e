-- Keep the newest checkpoints of each namespace, and the older ones from which their delta channels are
-- rebuilt: back to the nearest stored value of each.
-- tasks_too: 1 to drop namespaces of finished tasks too
-- Returns: number of checkpoints dropped
if not check_fence(control, epoch) then return redis.error_reply('FENCED') end
count = tonumber(count)

local function survivors(ks, ids)
  local heads, keep, walked = {}, {}, {}
  local function head_of(id)
    if heads[id] == nil then
      local record = redis.call('HGET', ks.c, id)
      heads[id] = record and head_of_record(record) or false
    end
    return heads[id]
  end
  local function done(id, wanted)
    if not walked[id] then return false end
    for channel in pairs(wanted) do
      if not walked[id][channel] then return false end
    end
    return true
  end
  for n = 1, math.min(count, #ids) do
    keep[ids[n]] = true
    local head = head_of(ids[n])
    local wanted = head and delta_channels(head) or {}
    local id = head and head[1] or ''
    while id ~= '' and next(wanted) and not done(id, wanted) do
      head = head_of(id)
      if not head then break end
      keep[id], walked[id] = true, {}
      for channel in pairs(wanted) do walked[id][channel] = true end
      for m = 1, #head[3], 3 do
        if head[3][m + 2] > 0 then wanted[head[2][head[3][m] + 1]] = nil end
      end
      id = head[1]
    end
  end
  return keep
end

local function prune(ns)
  local ks = keys_of(names, ns)
  if redis.call('ZCARD', ks.i) <= count then return 0 end
  local ids, dead = redis.call('ZREVRANGEBYLEX', ks.i, '+', '-'), {}
  local keep = survivors(ks, ids)
  for _, id in ipairs(ids) do
    if not keep[id] then dead[#dead + 1] = id end
  end
  return drop_checkpoints(names, ns, dead)
end

local dropped = prune('')
local oldest = redis.call('ZRANGE', keys_of(names, '').i, 0, 0)[1]
for _, ns in ipairs(redis.call('SMEMBERS', names)) do
  local ids = keys_of(names, ns).i
  -- A task's own namespace ("node:task id") is dead once the root keeps newer checkpoints only.
  local dead = tasks_too == '1' and oldest and string.find(ns, ':', 1, true)
    and redis.call('ZCARD', ids) > 0 and redis.call('ZLEXCOUNT', ids, '(' .. oldest, '+') == 0
  if dead then
    dropped = dropped + redis.call('ZCARD', ids)
    drop_namespace(names, ns)
  elseif ns ~= '' then
    dropped = dropped + prune(ns)
  end
end
return dropped
