"""The command line: options of the commands, the config module, errors as one line."""
