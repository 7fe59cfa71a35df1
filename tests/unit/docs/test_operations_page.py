"""The tables of docs/operations.md are made from the settings classes, and name the variables that the code reads."""

import ast
import importlib.util
import re
from pathlib import Path

from ray._init import KNOWN_SYSTEM_CONFIG

ROOT = Path(__file__).resolve().parents[3]
# Of a service's settings; its fields follow it.
PREFIXES = {"MANTA_GCS_", "MANTA_OBJECT_MANAGER_", "MANTA_RAYLET_", "MANTA_TLS_", "RAY_TLS_"}
# Names of ours that are no variables, and those that are set and not read.
OTHERS = {"RAY_EXCEPTION_TYPES", "RAY_JOB_ID", "RAY_RAYLET_PID"}


def variables_in_the_code() -> set[str]:
    """All texts in the parts that are the name of a variable and nothing else."""
    found = set()
    for part in ("libs", "services"):
        for path in (ROOT / part).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_bytes())):
                text = node.value if isinstance(node, ast.Constant) else None
                if isinstance(text, str) and re.fullmatch(r"(RAY|MANTA)_\w+", text):
                    found.add(text)
    return found - PREFIXES - OTHERS


def test_each_variable_that_is_read_is_in_the_table_and_no_other() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    table = page.partition("## Environment variables")[2].partition("A worker also finds")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`((?:RAY|MANTA)_\w+)`", row)}
    of_the_config = {f"RAY_{key}" for key in KNOWN_SYSTEM_CONFIG}
    # Of TLS the code puts the names together.
    together = {"RAY_TLS_CA_CERT", "RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY"}
    assert variables_in_the_code() - of_the_config == named - together


def test_each_key_of_the_system_config_that_is_read_is_in_its_table() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    table = page.partition("## The system config")[2].partition("## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {key for row in rows for key in re.findall(r"`(\w+)`", row)} == KNOWN_SYSTEM_CONFIG


def test_the_tables_of_settings_are_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("settings_tables", ROOT / "tools/settings_tables.py")
    assert spec is not None and spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    page = (ROOT / "docs/operations.md").read_text()
    assert tables.with_tables(page) == page, "run python tools/settings_tables.py"
