"""The table of what is kept in docs/reliability.md says what the code does."""

import importlib
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs/reliability.md"
ROW = re.compile(r"\| ([^|]+) \| ([^|]+) \| ([\d,]*) ?\| ([\d,]*) ?\| `([\w.]+)` ([\w, ]+) \|")
ROWS = [match.groups() for line in PAGE.read_text().splitlines() if (match := ROW.fullmatch(line))]


def number(text: str) -> int | None:
    return int(text.replace(",", "")) if text else None


def test_every_line_of_the_table_is_read() -> None:
    lines = [
        line
        for line in PAGE.read_text().splitlines()
        if (line.startswith("| ") and "`manta_" in line) or "`ray._" in line
    ]
    assert len(ROWS) == len(lines) > 25


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}: {row[1][:40]}")
def test_a_bound_is_what_the_page_says(row: tuple[str, ...]) -> None:
    _, _, entries, mebibytes, module, names = row
    values = [getattr(importlib.import_module(module), name) for name in names.split(", ")]
    said = [number(entries), None if not mebibytes else (number(mebibytes) or 0) * 1024 * 1024]
    assert values == [value for value in said if value is not None]
