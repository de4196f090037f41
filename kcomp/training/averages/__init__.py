"""Average weights or predictions over a stage, which is a part of a training."""
