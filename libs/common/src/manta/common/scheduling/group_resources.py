"""The names under which reserved bundles show among the resources."""

from __future__ import annotations

from typing import Final

# Held by every bundle beside its resources, so that users who need none of them show too.
BUNDLE_MARK: Final = "bundle"
BUNDLE_MARK_AMOUNT: Final = 1_000


def group_resource_names(name: str, group: str, bundle_index: int = -1) -> tuple[str, ...]:
    """What users of a bundle see in place of `name`: of any bundle, and with an index of that bundle too.

    group: the group's id in hex digits.
    """
    wildcard = f"{name}_group_{group}"
    return (wildcard,) if bundle_index < 0 else (f"{name}_group_{bundle_index}_{group}", wildcard)
