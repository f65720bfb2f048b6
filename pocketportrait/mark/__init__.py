"""The invisible mark that every rendered frame carries: its pattern, its code and its detector.

numpy alone, and the same numbers on every machine. `export/marked.py` puts it into the render graph;
docs/decisions/0009-mark.md says why it is as it is, docs/trust.md what it survives.
"""

from pocketportrait.mark.detector import MOST_CHANCE, Detection, Detector, detect
from pocketportrait.mark.pattern import PUBLIC_KEY, field_of_side
from pocketportrait.mark.strength import mark_picture

__all__ = [
    "MOST_CHANCE",
    "PUBLIC_KEY",
    "Detection",
    "Detector",
    "detect",
    "field_of_side",
    "mark_picture",
]
