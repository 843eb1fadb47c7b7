"""What all processes share, in Redis: call window, pending queue, cycle locks, refusals, history."""
