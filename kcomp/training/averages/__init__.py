"""What a stage keeps beside its weights: snapshots and averages of weights."""
