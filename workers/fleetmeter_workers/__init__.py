"""The stages of the line, one package each: the I/O around the rules."""
