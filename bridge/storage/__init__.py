"""The database: what is stored, claimed, recorded and read."""
