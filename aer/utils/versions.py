"""Versions of aer and of the packages that its results depend on."""

import platform
from importlib import metadata

from aer import __version__

PACKAGES = ("torch", "catalyst", "accelerate", "torchlibrosa", "resnest", "soundfile", "soxr", "numpy", "scikit-learn")


def versions() -> dict[str, str]:
    """Return the versions of aer, Python and PACKAGES, whose numbers a model depends on.

    Raise importlib.metadata.PackageNotFoundError where one of them is not installed.
    """
    own = {"aer": __version__, "python": platform.python_version()}
    return own | {name: metadata.version(name) for name in PACKAGES}
