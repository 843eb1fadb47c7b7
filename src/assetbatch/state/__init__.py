"""What all processes share, in Redis: the call window, the pending queue, cycle locks, refusals, the journal."""
