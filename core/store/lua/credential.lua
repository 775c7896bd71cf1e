-- A session or an API key together with the role of the account that it is expected to belong to,
-- and whether that account's list names it: a set of digests (sessions), or key id -> digest.
-- Returns: {fields and values of the credential, role | nil, 1 | 0}. Changes nothing.
local fields, named, kind = redis.call('HGETALL', credential), 0, redis.call('TYPE', index).ok
if kind == 'set' then
    named = redis.call('SISMEMBER', index, digest)
elseif kind == 'hash' then
    for at = 1, #fields, 2 do
        if fields[at] == 'id' and redis.call('HGET', index, fields[at + 1]) == digest then
            named = 1
        end
    end
end
return {fields, redis.call('HGET', account, 'role'), named}
