"""From Pgyer's request to stored deliveries."""
