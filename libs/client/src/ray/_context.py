"""What ray.init() returns."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

from ray import _distribution


class RayContext(Mapping[str, Any]):
    """How this process is connected; leaving it as a context manager disconnects.

    address_info: node_ip_address, gcs_address, address, session_dir, node_id, raylet_socket_name, object_store_address,
    webui_url ("" until there is a dashboard). The context itself reads like that dict.
    """

    def __init__(self, address_info: Mapping[str, Any]) -> None:
        self.address_info = dict(address_info)
        self.dashboard_url = ""
        self.python_version = ".".join(str(part) for part in sys.version_info[:3])
        self.ray_version = _distribution.VERSION
        self.protocol_version: str | None = None

    @property
    def ray_commit(self) -> str:
        return _distribution.commit()

    def __getitem__(self, key: str) -> Any:
        return self.address_info[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.address_info)

    def __len__(self) -> int:
        return len(self.address_info)

    def disconnect(self) -> None:
        """As ray.shutdown()."""
        from ray._init import shutdown

        shutdown()

    def __enter__(self) -> RayContext:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disconnect()

    def __repr__(self) -> str:
        return (
            f"RayContext(dashboard_url={self.dashboard_url!r}, python_version={self.python_version!r}, "
            f"ray_version={self.ray_version!r}, address_info={self.address_info!r})"
        )
