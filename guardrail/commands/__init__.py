"""The command line: a file a command; how tables, palette and figures look is in `look`."""
