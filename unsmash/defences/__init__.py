"""What may be done at the cut against reconstruction: one defence per file, stackable in order."""
