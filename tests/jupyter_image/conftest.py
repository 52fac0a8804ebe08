"""What is in the notebook image is no package of the gateway's: its folder is on the path here."""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "jupyter-image"
sys.path.insert(0, str(FOLDER))
