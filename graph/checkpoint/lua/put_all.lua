-- Several writes of a turn, all or none: a checkpoint without the writes before it has lost messages.
-- Safe to repeat, as each of them is.
-- keys: those of each write. calls: for each write its script, number of keys, number of arguments, arguments …
local script = {
  put = function(those, args) return put(those, args, args, 6) end,
  put_writes = put_writes,
}
local key, arg = 0, 1
while arg <= #calls do
  local those, args = {}, {}
  for n = 1, tonumber(calls[arg + 1]) do those[n] = keys[key + n] end
  for n = 1, tonumber(calls[arg + 2]) do args[n] = calls[arg + 2 + n] end
  local answer = script[calls[arg]](those, args)
  if type(answer) == 'table' then return answer end
  key, arg = key + #those, arg + 3 + #args
end
return 1
