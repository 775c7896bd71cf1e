-- Several writes of a turn, all or none: a checkpoint without the writes before it has lost messages.
-- Safe to repeat, as each of them is.
-- KEYS: those of each write. ARGV: for each write its script, number of keys, number of arguments, arguments …
local script = {put = put, put_writes = put_writes}
local key, arg = 0, 1
while arg <= #ARGV do
  local keys, args = {}, {}
  for n = 1, tonumber(ARGV[arg + 1]) do keys[n] = KEYS[key + n] end
  for n = 1, tonumber(ARGV[arg + 2]) do args[n] = ARGV[arg + 2 + n] end
  local answer = script[ARGV[arg]](keys, args)
  if type(answer) == 'table' then return answer end
  key, arg = key + #keys, arg + 3 + #args
end
return 1
