"""Rows as columns of plain text, laid out as upstream does: the row's number first, numbers to the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final

# A column is so much wider than its name.
_HEADER_ROOM: Final = 2


def table_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, numbered: bool = True) -> str:
    """cost: O(cells)."""
    headers = [name.upper() for name in columns]
    cells = [[_cell_lines(row.get(name)) for name in columns] for row in rows]
    if numbered:
        headers.insert(0, "")
        cells = [[[str(number)], *row] for number, row in enumerate(cells)]
    to_right = [_are_numbers([row[at] for row in cells]) for at in range(len(headers))]
    widths = [
        max([len(header) + _HEADER_ROOM, *(len(line) for row in cells for line in row[at])])
        for at, header in enumerate(headers)
    ]
    lines = [_line(headers, widths, to_right)]
    for row in cells:
        lines += [_line(part, widths, to_right) for part in zip_longest(*row, fillvalue="")]
    return "\n".join(lines)


def _line(texts: Sequence[str], widths: Sequence[int], to_right: Sequence[bool]) -> str:
    aligned = zip(texts, widths, to_right, strict=True)
    return "  ".join(text.rjust(width) if right else text.ljust(width) for text, width, right in aligned).rstrip()


def _cell_lines(value: Any) -> list[str]:
    if value is None:
        return [""]
    if isinstance(value, Mapping):
        return [f"{key}: {inner}" for key, inner in sorted(value.items())] or [""]
    return str(value).split("\n")


def _are_numbers(cells: Sequence[Sequence[str]]) -> bool:
    """Whether a column holds nothing but numbers, and at least one."""
    filled = [cell for cell in cells if cell != [""]]
    return bool(filled) and all(_is_number(cell) for cell in filled)


def _is_number(cell: Sequence[str]) -> bool:
    try:
        float(cell[0])
    except ValueError:
        return False
    return len(cell) == 1
