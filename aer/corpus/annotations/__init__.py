"""Labelled times as people hold them: read from Raven, Audacity, Kaleidoscope, BirdNET, DCASE and CSV tables."""
