-- A session or an API key together with the role of the account that it is expected to belong to.
-- KEYS: the credential's hash, the account's hash
-- ARGV: -
-- Returns: {fields and values of the credential, role | nil}. Changes nothing.
return {redis.call('HGETALL', KEYS[1]), redis.call('HGET', KEYS[2], 'role')}
