"""Sound: what a recording holds, its samples at any rate, windows over it. Nothing here imports torch."""
