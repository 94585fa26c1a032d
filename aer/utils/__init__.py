"""What all rooms use: text, files, CSV, progress bars, processes, signals, devices; nothing of audio or models."""
