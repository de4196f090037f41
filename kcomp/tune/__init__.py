"""Hyperparameter search: Optuna chooses the values, `kcomp train` trains each trial's runs."""
