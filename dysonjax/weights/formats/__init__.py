"""Readers, one file format a module: `read(path) -> Checkpoint`. None executes anything from a file."""
