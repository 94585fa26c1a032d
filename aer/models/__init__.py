"""The recognisers: `panns` (Cnn14 with an attention head) and `resnest` (ResNeSt on mel images)."""
