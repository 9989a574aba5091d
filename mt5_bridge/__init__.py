"""The MT5 bridge: serves the official MetaTrader5 Python API of one terminal over RPyC, and the client for it."""
