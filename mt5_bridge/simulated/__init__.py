"""A simulated broker server and simulated terminals that speak the official API.

The broker owns accounts, orders, positions and deals; terminals log in to it. `engine/` and `market/` are pure: time
and data come in from outside. `server` and `terminal` are the processes around them.
"""
