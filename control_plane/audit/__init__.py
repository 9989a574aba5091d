"""Who did what to the farm, and why."""
