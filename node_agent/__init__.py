"""The node agent: one daemon per node that keeps the terminals assigned to it running and reports what it sees."""
