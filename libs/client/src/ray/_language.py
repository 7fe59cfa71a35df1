"""The languages a worker may be written in."""

from enum import Enum


class Language(Enum):
    """PYTHON is the only one that has workers here."""

    PYTHON = 0
    JAVA = 1
    CPP = 2
