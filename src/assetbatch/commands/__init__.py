"""The three run commands: each start is one bounded, locked, recorded cycle.

Each takes the services it needs and a Deadline, and returns a CycleResult; errors that end a cycle are raised
after they have been recorded. Import the module of the command: an idle start pays for what it uses.
"""
