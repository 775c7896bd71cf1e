-- A thread's checkpoints as they are at one moment.
-- Returns: {kind, namespace, dump, …}
local out = {}
for _, ns in ipairs(redis.call('SMEMBERS', names)) do
  local ks = keys_of(names, ns)
  for _, kind in ipairs(KINDS) do
    local dump = redis.call('DUMP', ks[kind])
    if dump then
      out[#out + 1] = kind
      out[#out + 1] = ns
      out[#out + 1] = dump
    end
  end
end
return out
