"""A worker's output as lines, each with the name of the task or actor that wrote it."""

from __future__ import annotations

from typing import Final

MARKER: Final = b"\x1e"
LINE_LIMIT: Final = 64 * 1024


class LineSplitter:
    """Bytes in, (name, line) out. A marker, 0x1e name newline, names what follows; markers are not output.

    A line over the limit is cut into pieces, so that memory stays bounded however the worker writes.
    """

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._rest = b""
        self._name = ""

    def feed(self, data: bytes) -> list[tuple[str, str]]:
        lines: list[tuple[str, str]] = []
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._take(line, lines)
        while len(self._rest) >= self._limit:
            self._take(self._rest[: self._limit], lines)
            self._rest = self._rest[self._limit :]
        return lines

    def flush(self) -> list[tuple[str, str]]:
        """The last line, when the output ended without a newline."""
        lines: list[tuple[str, str]] = []
        if self._rest:
            self._take(self._rest, lines)
            self._rest = b""
        return lines

    def _take(self, line: bytes, lines: list[tuple[str, str]]) -> None:
        text, marker, name = line.partition(MARKER)
        # Something may have been written without a newline before the name changed.
        if text or not marker:
            for start in range(0, max(len(text), 1), self._limit):
                piece = text[start : start + self._limit].decode(errors="replace")
                lines.append((self._name, piece.removesuffix("\r")))
        if marker:
            self._name = name[: self._limit].decode(errors="replace")
