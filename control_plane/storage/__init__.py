"""Files that are too large for rows, or that must lie apart from the database."""
