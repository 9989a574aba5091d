"""Nodes: enrolment, identity, heartbeat, and the snapshot each of them should run."""
