"""Copy trading: what one account does is done by others, by their own rules and exactly once."""
