"""Callbacks of Catalyst's runner."""
