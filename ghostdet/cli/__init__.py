"""The commands, one file each: parse the command line, call the package, print the result."""
