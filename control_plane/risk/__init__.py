"""Bots: strategies set to run on one account, and what they log."""
