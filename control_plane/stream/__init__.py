"""Live updates for the portal: what the bus tells, as REST bodies over SSE."""
