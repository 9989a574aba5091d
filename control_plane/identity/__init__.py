"""Users, their sessions, and who may do what."""
