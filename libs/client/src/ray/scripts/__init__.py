"""The `ray` command."""

from __future__ import annotations


def main() -> None:
    """Entry point of the console script."""
    from ray.scripts.cli import cli

    cli(prog_name="ray")
