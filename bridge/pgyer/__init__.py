"""Asks Pgyer's API for builds whose webhook never came; imported only where a key is set."""
