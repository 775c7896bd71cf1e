-- A session or an API key together with the role of the account that it is expected to belong to.
-- Returns: {fields and values of the credential, role | nil}. Changes nothing.
return {redis.call('HGETALL', credential), redis.call('HGET', account, 'role')}
