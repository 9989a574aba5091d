"""What runs inside of a terminal's container: `seat terminal [screen]`, `seat worker`, `seat host`.

Standard library only. The container's user owns nothing here; what it may write is mounted (`places.py`).
"""
