"""Runs one program in this process, on whichever `ray` its interpreter has: `python workload.py PROGRAM`.

Prints one JSON list, a figure for each row of the program.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    print(json.dumps(importlib.import_module(f"programs.{sys.argv[1]}").main()))
