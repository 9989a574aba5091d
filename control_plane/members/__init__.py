"""The people of a tenant, for those who look after them."""
