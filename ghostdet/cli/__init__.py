"""The commands: a file each, from the command line to options, to a call, to what is printed. `tools/` has a door to each."""
