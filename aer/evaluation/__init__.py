"""How good a model is on labelled recordings and on soundscapes with known events."""
