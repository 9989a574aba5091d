"""Bot processes beside the terminal: how they are configured and started, and what they say of themselves."""
