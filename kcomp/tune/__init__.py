"""Search for hyperparameters. Optuna proposes the values of each trial, and `kcomp train` trains its runs."""
