# SPDX-License-Identifier: MIT
"""What the labs are made of: recordings as tables, pictures of them, exercises and their grading."""

import pandas as pd

from . import cases, draw, run
from .lab import Lab
from .recording import Recording, RecordingError, read
from .run import RunError

__all__ = ["Lab", "Recording", "RecordingError", "RunError", "draw", "read", "run"]

# Names of functions are long, and an iteration has a screenful of events.
pd.set_option(
    "display.max_colwidth", 120, "display.max_rows", 100, "display.width", 200
)
