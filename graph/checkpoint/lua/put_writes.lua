-- Append a batch of writes to a checkpoint, which may not have arrived yet.
-- Safe to repeat: batches are merged when read, and a repeated one changes nothing.
return put_writes({control, names, writes}, {epoch, ttl, ns, id, batch})
