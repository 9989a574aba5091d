"""Terminals: what should be (intent, hold) and what the agents observed, kept apart."""
