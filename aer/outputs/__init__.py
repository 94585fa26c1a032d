"""What recognition found, as files that other programs read."""
