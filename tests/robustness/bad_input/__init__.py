"""Commands that cannot work, all of them in ``CASES``."""

from . import extxyz, formats, settings, stores, verbs  # noqa: F401 - each enters its cases
from .cases import CASES, Case, Place
from .verbs import FITSNAP

__all__ = ["CASES", "FITSNAP", "Case", "Place"]
