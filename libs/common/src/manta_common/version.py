"""The protocol version that begins every connection and store record, and which versions work together."""

import re
from typing import NamedTuple


class Version(NamedTuple):
    """A protocol version: a major is a break, a minor an addition."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    @classmethod
    def parse(cls, text: str) -> "Version":
        """Read "0.3". raises: ValueError that names the text when it is anything else."""
        match = re.fullmatch(r"([0-9]{1,5})\.([0-9]{1,5})", text)
        if match is None:
            raise ValueError(f"{text[:40]!r} is not a protocol version; expected MAJOR.MINOR such as {PROTOCOL}")
        return cls(int(match[1]), int(match[2]))


PROTOCOL = Version(0, 3)


class VersionMismatch(Exception):
    """Two sides whose protocol versions do not work together; upgrade the older one."""

    def __init__(self, theirs: Version, ours: Version, peer: str) -> None:
        super().__init__(theirs, ours, peer)
        self.theirs, self.ours, self.peer = theirs, ours, peer

    def __str__(self) -> str:
        return (
            f"{self.peer} speaks protocol {self.theirs} and this side {self.ours}: "
            "only the same major with at most one minor between them works; upgrade the older side"
        )


def check(theirs: Version, ours: Version = PROTOCOL, *, peer: str) -> None:
    """Accept the same major with at most one minor between. raises: VersionMismatch naming both."""
    if theirs.major != ours.major or abs(theirs.minor - ours.minor) > 1:
        raise VersionMismatch(theirs, ours, peer)
