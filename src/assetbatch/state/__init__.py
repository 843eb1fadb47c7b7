"""Redis: what all processes share. Call window, pending queue, cycle locks, restrictions of the plan,
history."""
