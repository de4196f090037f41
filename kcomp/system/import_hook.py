"""An import hook that keeps PyTorch out of a process that runs on JAX."""


class WithoutPyTorch:
    """Refuses albumentations' PyTorch transforms, which kcomp has no use for: they import all of torch, 3 s a start."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "albumentations.pytorch":
            raise ImportError("on JAX, kcomp takes images as NumPy arrays: albumentations.pytorch is not loaded")
