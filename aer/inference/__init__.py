"""Recognition: recordings of any length to scores and events."""
