"""What a tenant's plan lets its bots do."""
