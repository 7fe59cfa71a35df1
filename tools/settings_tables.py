"""Write the tables of settings in docs/operations.md from the settings classes.

python tools/settings_tables.py; a test checks that the page is up to date.
"""

import dataclasses
import re
import sys
from pathlib import Path
from typing import Any

from manta_common.settings import ServiceSettings
from manta_gcs.server.settings import GcsSettings
from manta_object_manager.settings import ObjectManagerSettings
from manta_raylet.server.settings import RayletSettings

PAGE = Path(__file__).resolve().parent.parent / "docs/operations.md"
TABLES: dict[str, tuple[type[Any], str]] = {
    "every service": (ServiceSettings, "MANTA_<PART>_"),
    "manta-gcs": (GcsSettings, "MANTA_GCS_"),
    "manta-object-manager": (ObjectManagerSettings, "MANTA_OBJECT_MANAGER_"),
    "manta-raylet": (RayletSettings, "MANTA_RAYLET_"),
}


def table(cls: type[Any], prefix: str) -> str:
    """The fields that the class adds to those of every service."""
    common = set() if cls is ServiceSettings else {item.name for item in dataclasses.fields(ServiceSettings)}
    lines = [f"| flag | default | what it is (variables begin with `{prefix}`) |", "|---|---|---|"]
    for item in dataclasses.fields(cls):
        if item.name in common:
            continue
        flag = f"--{item.name.replace('_', '-')}"
        if item.type in (bool, "bool"):
            flag += f"/--no-{item.name.replace('_', '-')}"
        lines.append(f"| `{flag}` | {_default(item.default)} | {item.metadata.get('help', '')} |")
    return "\n".join(lines)


def _default(value: Any) -> str:
    if value is dataclasses.MISSING:
        return "required"
    if value in ("", ()):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def with_tables(page: str) -> str:
    """The page with the text between each pair of marks made anew. raises: ValueError when marks are missing."""
    for name, (cls, prefix) in TABLES.items():
        pattern = re.compile(rf"(<!-- settings of {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        made = table(cls, prefix)
        page, count = pattern.subn(lambda match, made=made: match[1] + made + "\n" + match[2], page)
        if count != 1:
            raise ValueError(f"{PAGE} has {count} places for the settings of {name}; it needs one")
    return page


def main() -> None:
    PAGE.write_text(with_tables(PAGE.read_text()))


if __name__ == "__main__":
    sys.exit(main())
