"""The root of the errors, and the forms that most of them share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manta_proto.common.v1 import common_pb2


class RayError(Exception):
    """The root of all errors of this package. `to_bytes` and `from_bytes` carry one between processes."""

    def to_bytes(self) -> bytes:
        """A serialized manta.common.v1.Value of kind ERROR. cost: one pickling."""
        return _to_value(self).SerializeToString()

    @staticmethod
    def from_bytes(b: bytes) -> BaseException:
        """Read what `to_bytes` wrote; an error that cannot be read comes back as UnserializableException."""
        from manta_proto.common.v1 import common_pb2

        return RayError.from_ray_exception(common_pb2.Value.FromString(b))

    @staticmethod
    def from_ray_exception(ray_exception: common_pb2.Value) -> BaseException:
        from ray import _error_transport
        from ray.exceptions.system import UnserializableException

        error = _error_transport.load(ray_exception.data)
        return error if error is not None else UnserializableException(_error_transport.text_of(ray_exception.data))


def _to_value(error: BaseException) -> common_pb2.Value:
    from manta_proto.common.v1 import common_pb2

    from ray import _error_transport

    return common_pb2.Value(kind=common_pb2.Value.ERROR, data=_error_transport.dump(error))


class _MessageError(RayError):
    """An error whose text its maker gives."""

    def __init__(self, error_message: str) -> None:
        super().__init__(error_message)
        self.error_message = error_message

    def __str__(self) -> str:
        return str(self.error_message)


class _FixedError(RayError):
    """An error with a text of its own, used where none is given."""

    default_text = ""

    def __str__(self) -> str:
        return super().__str__() or self.default_text


def _hex(identity: Any) -> str:
    return identity.hex() if hasattr(identity, "hex") else str(identity)


def _restore(cls: type[RayError], args: tuple[Any, ...], about: dict[str, Any], state: dict[str, Any]) -> RayError:
    """Rebuild an error whose text is made of arguments that Exception.args does not hold."""
    error = cls(*args, **about)
    error.__dict__.update(state)
    return error
