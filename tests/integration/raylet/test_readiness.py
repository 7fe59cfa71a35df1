"""A raylet that says it is ready can fork workers; one whose zygote does not come up says so all the same."""

from pathlib import Path

from tests.integration.raylet.node_process import running_node


async def test_a_node_is_ready_once_its_zygote_is(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        log = node.raylet.log.read_text()
        assert 0 < log.index("zygote_ready") < log.index("raylet_ready")


async def test_a_zygote_that_never_speaks_does_not_keep_a_node_from_being_ready(tmp_path: Path) -> None:
    async with running_node(tmp_path, flags=("--zygote-command", "sleep 600")) as node:
        log = node.raylet.log.read_text()
        assert "raylet_ready" in log and "zygote_ready" not in log
