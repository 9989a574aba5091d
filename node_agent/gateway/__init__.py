"""The node's only open port: TLS and a ticket come in, a session with one local bridge worker, or a look at
one terminal's screen, goes out.

A process of its own, so that sessions outlive the agent. What it may route is in a file that the agent writes.
"""
