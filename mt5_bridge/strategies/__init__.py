"""Trading strategies: pure decisions on closed bars, and the bot process that carries them out."""
