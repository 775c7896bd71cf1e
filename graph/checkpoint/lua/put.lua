-- Store a checkpoint and its new values. Safe to repeat: everything is set, nothing is added.
return put({control, names, index, records, blobs}, {epoch, ttl, ns, id, record}, values, 1)
