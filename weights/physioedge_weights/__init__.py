"""Weights that ship beside ``physioedge``, which finds them with ``physioedge.models.shipped``."""

from pathlib import Path

FOLDER = Path(__file__).parent
"""Holds a folder for each preset of the backbone."""
