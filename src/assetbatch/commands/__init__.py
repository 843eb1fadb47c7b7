"""What the commands do, without the command line.

Each start of a run command is one locked and recorded cycle within a deadline. It takes the services and a
Deadline and returns a CycleResult; an error that ends the cycle is recorded, then raised. Import the module
of one command: an idle start pays only for what it uses.
"""
