-- Append a batch of writes to a checkpoint, which may not have arrived yet.
-- Safe to repeat: batches are merged when read, and a repeated one changes nothing.
-- KEYS, ARGV: as of put_writes in the prelude
return put_writes(KEYS, ARGV)
