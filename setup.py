"""The packages of the wheel; everything else is in pyproject.toml.

The folder recipes/ becomes the package folder kcomp/shipped, which pyproject.toml cannot map beside found packages.
"""

from setuptools import find_namespace_packages, setup

setup(
    packages=[*find_namespace_packages(include=["kcomp", "kcomp.*"]), "kcomp.shipped"],
    package_dir={"kcomp.shipped": "recipes"},
)
