"""The list of all places where kcomp replaces slower code, mostly of Keras, with the same results.

The environment variable KCOMP_FAST=0 turns all of them off.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras

from kcomp.fast.expectations import (
    ACTIVATION,
    ADAM,
    CONVOLUTIONS,
    MERGING,
    NORMALISATION,
    POOLING,
    RESHAPE,
    STRAIGHT,
    TRAIN_STEP,
    ZERO_PADDING,
    Expected,
)

Calls = dict[Any, Callable[..., Any]]


@dataclass(frozen=True)
class Patch:
    """Code of kcomp that replaces slower code, mostly of Keras. Results are the same up to rounding.

    name:     the name in warnings and in scripts/ablate_fast.py.
    replaces: the code that runs without the patch.
    reason:   why the patch is faster.
    backend:  "jax", "torch" or "any".
    device:   "cpu", or "any" for a patch that also runs on a GPU.
    tested:   versions of Keras that the patch was tested with.
    expects:  the classes of Keras that the patch uses. If one differs, kcomp warns and does not apply the patch.
    calls:    function that returns {class: function}. The function runs in place of the class's `call`, with the layer
              as its first argument. None if the patch replaces something other than `call`.
    """

    name: str
    replaces: str
    reason: str
    backend: str
    device: str = "cpu"
    tested: str = "3.15.1"
    expects: tuple[Expected, ...] = ()
    calls: Callable[[], Calls] | None = None


def jax_convolution() -> Calls:
    from kcomp.fast.calls import convolve
    from kcomp.fast.jax import convolution as arithmetic

    convolution = partial(convolve, arithmetic.depthwise, arithmetic.dense)
    return {keras.layers.Conv2D: convolution, keras.layers.DepthwiseConv2D: convolution}


def jax_normalisation() -> Calls:
    from kcomp.fast.calls import normalise
    from kcomp.fast.jax import convolution as arithmetic

    return {keras.layers.BatchNormalization: partial(normalise, arithmetic.normalise, arithmetic.move)}


def jax_silu() -> Calls:
    from kcomp.fast.calls import activate
    from kcomp.fast.jax.convolution import silu

    return {keras.layers.Activation: partial(activate, silu)}


def torch_convolution() -> Calls:
    from kcomp.fast.calls import convolve
    from kcomp.fast.torch import convolution as arithmetic

    convolution = partial(convolve, arithmetic.depthwise, arithmetic.dense)
    return {keras.layers.Conv2D: convolution, keras.layers.DepthwiseConv2D: convolution}


def torch_padded_convolution() -> Calls:
    from kcomp.fast.calls import pad_and_convolve
    from kcomp.fast.pairs import PaddedConvolution
    from kcomp.fast.torch import convolution as arithmetic

    return {PaddedConvolution: partial(pad_and_convolve, arithmetic.depthwise, arithmetic.dense)}


def torch_normalisation() -> Calls:
    from kcomp.fast.calls import normalise
    from kcomp.fast.torch import convolution as arithmetic

    return {keras.layers.BatchNormalization: partial(normalise, arithmetic.normalise, arithmetic.move)}


def torch_normalised_silu() -> Calls:
    from kcomp.fast.calls import normalise_and_activate
    from kcomp.fast.pairs import NormalisedSilu
    from kcomp.fast.torch.convolution import move
    from kcomp.fast.torch.silu import normalised_silu

    return {NormalisedSilu: partial(normalise_and_activate, normalised_silu, move)}


def torch_excitation() -> Calls:
    from kcomp.fast.calls import normalise_and_excite
    from kcomp.fast.excitation import Excitation
    from kcomp.fast.torch.convolution import move
    from kcomp.fast.torch.excitation import normalised_excited

    return {Excitation: partial(normalise_and_excite, normalised_excited, move)}


def torch_straight() -> Calls:
    from keras.src.models.functional import Functional

    from kcomp.fast.straight import run_straight

    return {Functional: run_straight}


PATCHES = (
    Patch(
        "jax-convolution",
        "Conv2D.call with a 1 x 1 kernel or one filter a channel, DepthwiseConv2D.call",
        "XLA computes a depthwise convolution on a CPU as one small convolution a channel",
        "jax",
        expects=CONVOLUTIONS,
        calls=jax_convolution,
    ),
    Patch(
        "jax-normalisation",
        "BatchNormalization.call while it learns its statistics",
        "a gradient of two sums saves fewer arrays than the one that JAX derives",
        "jax",
        expects=(NORMALISATION,),
        calls=jax_normalisation,
    ),
    Patch(
        "jax-silu",
        "Activation.call with silu",
        "a gradient that computes the sigmoid again saves one array instead of three",
        "jax",
        expects=(ACTIVATION,),
        calls=jax_silu,
    ),
    Patch(
        "jax-program-store",
        "Model.make_train_function in kcomp.training.mixed, jax.jit in kcomp.prediction.forward",
        "an equal network in the next fold, seed or process is not traced again",
        "jax",
        device="any",
        expects=TRAIN_STEP,
    ),
    Patch(
        "jax-xla-settings",
        "XLA's default settings, in kcomp.jax_programs.compile",
        "wider vectors, and in prediction XLA's older matrix product",
        "jax",
    ),
    Patch(
        "torch-convolution",
        "Conv2D.call, DepthwiseConv2D.call",
        "Keras copies the images to another memory layout and back at each convolution",
        "torch",
        device="any",
        expects=CONVOLUTIONS,
        calls=torch_convolution,
    ),
    Patch(
        "torch-padded-convolution",
        "ZeroPadding2D.call and the convolution after it",
        "the convolution adds the zeros itself, without a copy of the images",
        "torch",
        device="any",
        expects=(*CONVOLUTIONS, ZERO_PADDING, *STRAIGHT),
        calls=torch_padded_convolution,
    ),
    Patch(
        "torch-normalisation",
        "BatchNormalization.call",
        "Keras makes ten passes over the images, PyTorch's own operation makes two",
        "torch",
        device="any",
        expects=(NORMALISATION,),
        calls=torch_normalisation,
    ),
    Patch(
        "torch-normalised-silu",
        "BatchNormalization.call and Activation.call with silu after it",
        "two passes over the images forward and two backward, instead of three and four",
        "torch",
        expects=(NORMALISATION, ACTIVATION, *STRAIGHT),
        calls=torch_normalised_silu,
    ),
    Patch(
        "torch-excitation",
        "batch normalisation, silu, and squeeze and excitation after them",
        "an image stays in a core's cache from the pooling to the product with the gate",
        "torch",
        expects=(*CONVOLUTIONS, NORMALISATION, ACTIVATION, POOLING, RESHAPE, *MERGING, *STRAIGHT),
        calls=torch_excitation,
    ),
    Patch(
        "torch-straight",
        "Functional.call",
        "Keras's checks take half a millisecond for each call of a layer",
        "torch",
        device="any",
        expects=STRAIGHT,
        calls=torch_straight,
    ),
    Patch(
        "torch-folding",
        "the network's call in prediction, in kcomp.prediction.forward",
        "the layers around a convolution are folded into it, and its kernel is ordered once",
        "torch",
        device="any",
        expects=(*CONVOLUTIONS, NORMALISATION, ACTIVATION, ZERO_PADDING, *MERGING, *STRAIGHT),
    ),
    Patch(
        "torch-adam",
        "Adam._parallel_update_step, in kcomp.fast.torch.adam",
        "PyTorch's fused update makes one pass over the weights, Keras's makes a dozen",
        "torch",
        expects=(ADAM,),
    ),
    Patch(
        "memory",
        "glibc's allocator, in kcomp.system.memory",
        "glibc returns large arrays to the system and fetches them again at each step",
        "any",
    ),
)
