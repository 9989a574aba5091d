"""Tickets to terminals, and the control plane's own sessions with them through the gateways."""
