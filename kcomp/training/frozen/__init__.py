"""The frozen layers of a stage: where the network is cut, and the features they compute."""
