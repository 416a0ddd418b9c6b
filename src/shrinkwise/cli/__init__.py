"""The command line: one file a command.

Reads flags and TOML, calls the experiments wing, prints.
A user's mistake becomes one message and exit code 2 here.
"""
