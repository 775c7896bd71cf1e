-- Store a checkpoint and its new values. Safe to repeat: everything is set, nothing is added.
-- KEYS, ARGV: as of put in the prelude
return put(KEYS, ARGV)
