"""How the commands print rows: the layout of upstream's tables, and YAML that a reader takes for the same values."""

from ray.scripts.table_text import table_text
from ray.scripts.yaml_text import yaml_text


def test_a_table_has_upstreams_layout() -> None:
    rows = [
        {"placement_group_id": "3cd6174711f47c14132155039c0501000000", "name": "", "creator_job_id": "01000000"},
        {"placement_group_id": "e1b043bebc751c3081bddc24834d01000000", "name": "", "creator_job_id": "01000000"},
    ]
    for row, state in zip(rows, ("CREATED", "PENDING"), strict=True):
        row["state"] = state
    assert table_text(rows, ["placement_group_id", "name", "creator_job_id", "state"]).split("\n") == [
        "    PLACEMENT_GROUP_ID                    NAME      CREATOR_JOB_ID  STATE",
        " 0  3cd6174711f47c14132155039c0501000000                  01000000  CREATED",
        " 1  e1b043bebc751c3081bddc24834d01000000                  01000000  PENDING",
    ]


def test_a_mapping_takes_a_line_for_each_key() -> None:
    text = table_text([{"name": "f", "state_counts": {"RUNNING": 2, "FAILED": 1}}], ["name", "state_counts"])
    assert [line.split() for line in text.split("\n")[1:]] == [["0", "f", "FAILED:", "1"], ["RUNNING:", "2"]]


def test_yaml_has_upstreams_layout() -> None:
    row = {
        "actor_id": "b5c990f135a7b32bfbb05e1701000000",
        "death_cause": None,
        "is_detached": False,
        "job_id": "01000000",
        "name": "",
        "pid": 8795,
        "required_resources": {"CPU_group_d2e660ac256db230dbe516127c4a01000000": 1.0},
        "serialized_runtime_env": "{}",
        "state": "ALIVE",
    }
    assert yaml_text([row]).split("\n") == [
        "---",
        "-   actor_id: b5c990f135a7b32bfbb05e1701000000",
        "    death_cause: null",
        "    is_detached: false",
        "    job_id: '01000000'",
        "    name: ''",
        "    pid: 8795",
        "    required_resources:",
        "        CPU_group_d2e660ac256db230dbe516127c4a01000000: 1.0",
        "    serialized_runtime_env: '{}'",
        "    state: ALIVE",
        "...",
        "",
    ]


def test_yaml_keeps_texts_apart_from_other_values() -> None:
    texts = ["true", "No", "null", "1e5", "12", "a: b", "it's", "- x", "#x", "\x1b[0m"]
    lines = yaml_text(texts).split("\n")[1:-2]
    assert lines == [
        *("-   'true'", "-   'No'", "-   'null'", "-   '1e5'", "-   '12'", "-   'a: b'"),
        *("-   it's", "-   '- x'", "-   '#x'", '-   "\\u001b[0m"'),
    ]


def test_yaml_shows_lines_as_lines() -> None:
    assert yaml_text({"error": "a\nb"}).split("\n")[1:4] == ["error: |-", "    a", "    b"]
