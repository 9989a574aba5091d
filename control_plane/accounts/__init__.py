"""Trading accounts: an MT5 login at a broker server, its credentials and what its terminal last reported."""
