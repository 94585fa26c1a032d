"""What all rooms use: text, files, CSV, processes, signals, devices. It knows nothing of audio or models."""
