"""Search for hyperparameters: Optuna proposes values, `kcomp train` trains the runs of each trial."""
