"""The container image of real terminals: Wine, a Windows Python with the official package, and our bridge worker."""
