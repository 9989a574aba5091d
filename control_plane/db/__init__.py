"""Database: engine, transactions, column types and migrations."""
