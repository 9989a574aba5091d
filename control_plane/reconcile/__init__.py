"""Background loops, one per file, that bring what is closer to what should be."""
