"""The object manager's settings."""

from dataclasses import dataclass, field

from manta_common.settings import ServiceSettings, SettingsError, host_of, is_loopback

GIB = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectManagerSettings(ServiceSettings):
    """--arena-bytes or MANTA_OBJECT_MANAGER_ARENA_BYTES, and so on."""

    socket: str = field(metadata={"help": "Unix socket for the clients of this node"})
    arena_bytes: int = field(default=0, metadata={"help": "size of the arena; 0 takes 30 % of the available memory"})
    flight_listen: str = field(default="127.0.0.1:0", metadata={"help": "host:port of transfers to other nodes"})
    node_ip: str = field(default="127.0.0.1", metadata={"help": "address under which other nodes reach this one"})
    pull_streams: int = field(default=8, metadata={"help": "nodes that are asked for objects at the same time"})
    pull_budget_bytes: int = field(default=GIB, metadata={"help": "bytes received at the same time"})
    unknown_node_wait_s: float = field(
        default=5.0, metadata={"help": "how long a pull waits for news of a node that the raylet has not named yet"}
    )

    def __post_init__(self) -> None:
        ServiceSettings.__post_init__(self)
        if self.arena_bytes < 0:
            raise SettingsError(f"--arena-bytes {self.arena_bytes} is negative")
        if 0 < self.arena_bytes < 4096:
            raise SettingsError(f"--arena-bytes {self.arena_bytes} is less than one page; give at least 4096")
        if self.pull_streams < 1 or self.pull_budget_bytes < 1:
            raise SettingsError("--pull-streams and --pull-budget-bytes must be at least 1")
        if self.tls is None and not self.insecure_plaintext and not is_loopback(host_of(self.flight_listen)):
            raise SettingsError(
                f"--flight-listen {self.flight_listen} can be reached from other machines and has no TLS; "
                "give --tls-ca, --tls-cert and --tls-key, or accept the risk with --insecure-plaintext"
            )
