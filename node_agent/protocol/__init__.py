"""The wire contract between control plane and node agent.

HTTPS and JSON, versioned by `messages.PROTOCOL_VERSION`; `HISTORY.md` in this folder says what each version changed.
The agent always dials out. Four exchanges exist: enroll, sync, watch and events.
"""
