"""The tables of docs/operations.md are made from the settings classes."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_tables_of_settings_are_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("settings_tables", ROOT / "tools/settings_tables.py")
    assert spec is not None and spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    page = (ROOT / "docs/operations.md").read_text()
    assert tables.with_tables(page) == page, "run python tools/settings_tables.py"
