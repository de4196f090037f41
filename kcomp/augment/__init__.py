"""MixUp, CutMix and random erasing as Keras layers.

A layer has two methods. `draw` makes all random choices for a batch with a NumPy generator. It returns them as a plan:
small arrays with one row for each sample. `call` applies a plan to the batch, without weights or random numbers. Both
backends therefore compute the same images.

In training, kcomp calls `draw` and passes the plans with the images. In a notebook, call a layer with a seed:
`MixUp(0.2)({"images": images, "labels": labels}, seed=1)`.
"""

from kcomp.augment.erasing import RandomErasing
from kcomp.augment.mixing import CutMix, MixUp, Switch

__all__ = ["CutMix", "MixUp", "RandomErasing", "Switch"]
