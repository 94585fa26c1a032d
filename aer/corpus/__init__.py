"""Labelled recordings: finding them, folds, surveys, and the making of corpora. Nothing here imports torch."""
