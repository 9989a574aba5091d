"""Wine on Linux machines: a prefix for terminals, and the Windows Python that the official package needs."""
