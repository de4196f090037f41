"""Search for good values of a recipe (hyperparameters), such as the learning rate.

Optuna proposes sets of values (trials), which `kcomp train` trains on one or more folds.
"""
