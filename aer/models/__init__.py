"""The models from waveform to scores, their front ends, weights, thresholds, and the bundle that holds one."""
