"""Published figures: data in, matplotlib Figure out. Nothing here opens a file or trains a network."""
