-- Some keys as they are at one moment. Only reads.
-- spaces: sets of checkpoint namespaces, whose keys are read too
-- Returns: {name, type, time of expiry in ms or -1, value, last id of a stream or false}, …
local names, known = {}, {}
local function add(name)
  if not known[name] then
    known[name] = true
    names[#names + 1] = name
  end
end
for _, name in ipairs(wanted) do add(name) end
for _, set in ipairs(spaces) do
  add(set)
  -- The layout is described in graph/checkpoint/lua/_prelude.lua.
  local base = string.sub(set, 1, -3)
  for _, ns in ipairs(redis.call('SMEMBERS', set)) do
    for _, kind in ipairs({'i', 'c', 'b', 'w'}) do add(base .. kind .. ':' .. ns) end
  end
end

local function expiry(name)
  local at = redis.pcall('PEXPIRETIME', name)
  if type(at) == 'number' then return at end
  -- Before Redis 7.
  local left = redis.call('PTTL', name)
  if left < 0 then return left end
  local now = redis.call('TIME')
  return tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) + left
end

local function last_id(name)
  local about = redis.call('XINFO', 'STREAM', name)
  for n = 1, #about, 2 do
    if about[n] == 'last-generated-id' then return about[n + 1] end
  end
end

local read = {
  string = function(name) return {redis.call('GET', name)} end,
  hash = function(name) return redis.call('HGETALL', name) end,
  list = function(name) return redis.call('LRANGE', name, 0, -1) end,
  set = function(name) return redis.call('SMEMBERS', name) end,
  zset = function(name) return redis.call('ZRANGE', name, 0, -1, 'WITHSCORES') end,
  stream = function(name) return redis.call('XRANGE', name, '-', '+') end,
}

local out = {}
for _, name in ipairs(names) do
  local kind = redis.call('TYPE', name).ok
  if kind ~= 'none' then
    if not read[kind] then return redis.error_reply('TYPE ' .. kind .. ' of ' .. name) end
    local id = kind == 'stream' and last_id(name)
    out[#out + 1] = {name, kind, expiry(name), read[kind](name), id or false}
  end
end
return out
