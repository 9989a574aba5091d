"""Outbox: slow effects written in the transaction of their fact and carried out afterwards."""
