"""What errors quote of the standard error of a process that died."""

from __future__ import annotations

from manta_raylet.processes.last_errors import LAST_LINES, LastErrors

RUNTIME = '  File "/site-packages/ray/_runtime/execution/execution.py", line 237 in run'
ZYGOTE = '  File "/site-packages/ray/_zygote/main.py", line 80 in main'


def test_the_last_lines_are_kept() -> None:
    last = LastErrors()
    last.extend(f"line {number}" for number in range(LAST_LINES + 5))
    assert last.lines() == [f"line {number}" for number in range(5, LAST_LINES + 5)]


def test_of_a_crash_the_innermost_frames_are_kept_and_what_came_before() -> None:
    last = LastErrors()
    last.extend(f"line {number}" for number in range(50))
    last.extend(["free(): invalid pointer", "Fatal Python error: Aborted", "", "Stack (most recent call first):"])
    frames = [f'  File "program.py", line {line} in f' for line in range(100)]
    last.extend(frames)
    last.extend([RUNTIME, ZYGOTE, "", "Extension modules: numpy (total: 1)"])
    lines = last.lines()
    assert lines[:5] == ["line 46", "line 47", "line 48", "line 49", "free(): invalid pointer"]
    assert lines[5:8] == ["Fatal Python error: Aborted", "Stack (most recent call first):", frames[0]]
    assert len(lines) == LAST_LINES


def test_frames_of_the_runtime_are_not_told() -> None:
    last = LastErrors()
    last.extend(["Fatal Python error: Segmentation fault", "", "Stack (most recent call first):"])
    last.extend(['  File "program.py", line 3 in f', RUNTIME, ZYGOTE, "", "Extension modules: numpy (total: 1)"])
    assert last.lines() == [
        "Fatal Python error: Segmentation fault",
        "Stack (most recent call first):",
        '  File "program.py", line 3 in f',
    ]
