"""aer: train and run audio-event recognisers."""

__version__ = "0.1.0"
