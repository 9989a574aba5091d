"""A process beside the agent that kills terminals whose lease is over, whatever has become of the agent."""
