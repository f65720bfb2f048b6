"""Pocket Portrait: distil, quantize, export and verify portrait-animation models for phones."""

__version__ = "0.1.0"
