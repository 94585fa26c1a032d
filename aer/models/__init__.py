"""The models: waveforms in, a dict of clip-wise (and frame-wise) outputs out, with their front ends inside."""
