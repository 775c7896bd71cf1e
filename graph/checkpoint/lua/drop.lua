-- Delete some checkpoints of a namespace.
if not check_fence(control, epoch) then return redis.error_reply('FENCED') end
return drop_checkpoints(names, ns, ids)
