"""Set the arithmetic precision, equally on both backends."""

import keras


def use_precision(name: str) -> None:
    """Set Keras's dtype policy, and whether a GPU may round float32 numbers before it multiplies them.

    Args:
        name: "float32" computes in float32 throughout. "tensorfloat32" lets an NVIDIA GPU round the inputs of matrix
            products and convolutions to 10 bits of mantissa (TF32). A CPU computes in float32 with either name.
            "mixed_bfloat16" and "mixed_float16" are Keras's policies.
    """
    keras.config.set_dtype_policy("float32" if name == "tensorfloat32" else name)
    rounded = name != "float32"
    if keras.backend.backend() == "torch":
        import torch

        torch.backends.cuda.matmul.allow_tf32 = rounded
        torch.backends.cudnn.allow_tf32 = rounded
    else:
        import jax

        if jax.default_backend() != "cpu":  # on a CPU, this would change only the keys of compiled programs
            jax.config.update("jax_default_matmul_precision", "tensorfloat32" if rounded else "float32")


def precision_in_use() -> str:
    """Return a text such as "float32, TF32 off".

    It has Keras's dtype policy, and whether the GPU rounds float32 numbers before it multiplies them.
    """
    policy = keras.config.dtype_policy().name
    if keras.backend.backend() == "torch":
        import torch

        return f"{policy}, TF32 {'on' if torch.backends.cudnn.allow_tf32 else 'off'}"
    import jax

    products = jax.config.jax_default_matmul_precision
    return policy if products is None else f"{policy}, TF32 {'off' if products == 'float32' else 'on'}"
