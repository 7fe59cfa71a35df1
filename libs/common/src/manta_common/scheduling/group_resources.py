"""The names under which reserved bundles show among the resources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

Amount = TypeVar("Amount", int, float)


def in_group(amounts: Mapping[str, Amount], group: str, bundle_index: int = -1) -> dict[str, Amount]:
    """What users of a bundle show in place of plain resources: of any bundle, and with an index of that bundle too.

    group: the group's id in hex digits. bundle_index: -1 for any.
    """
    suffixes = [f"_group_{group}"] + ([f"_group_{bundle_index}_{group}"] if bundle_index >= 0 else [])
    return {f"{name}{suffix}": amount for name, amount in amounts.items() for suffix in suffixes}
