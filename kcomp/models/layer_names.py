"""Names of layers that do not depend on the networks built before."""

import re
from collections import Counter

import keras


def number_names(network: keras.Model) -> None:
    """Number the layers that Keras named, such as add_75, from 1 in each network.

    Keras counts them over all networks of a process, so the names would depend on what was built before.
    """
    counts: Counter[str] = Counter()
    for layer in network.layers:
        kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(layer).__name__).lower()
        if re.fullmatch(rf"{kind}(_\d+)?", layer.name):
            counts[kind] += 1
            layer.name = f"{kind}_{counts[kind]}"
