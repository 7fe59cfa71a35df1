"""What the object manager's parts see of a connected process."""

from typing import Protocol

from google.protobuf.message import Message

from manta_object_manager.client_id import ClientId


class Client(Protocol):
    """A local process with an open connection."""

    id: ClientId
    closed: bool

    def send(self, kind: int, message: Message) -> None: ...
