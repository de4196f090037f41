"""Search for good values of a recipe (hyperparameters), such as the learning rate.

Optuna proposes a set of values, a trial. `kcomp train` trains the recipe with these values on one or more folds.
"""
