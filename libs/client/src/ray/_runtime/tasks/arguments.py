"""The arguments of a call: what travels inline, what by reference, and what the message of the task says of them.

Top-level refs are taken out of the arguments before pickling and named in `Task.arguments`, so that the worker puts the
values in their place. The pickled value is (args, kwargs), or with refs (args, kwargs, positions, keywords), where the
places of the refs hold None; the refs are numbered positions first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ray._runtime.objects.object_table import ObjectState
from ray._runtime.values.object_ref import ObjectRef
from ray._runtime.values.serialization import ERROR, inline, serialize, shown
from ray._runtime.values.system_errors import error_value

if TYPE_CHECKING:
    from manta_proto.common.v1 import common_pb2
    from manta_proto.worker.v1 import worker_pb2

    from ray._runtime.objects.object_table import ObjectTable
    from ray._runtime.process.process import Process
    from ray._runtime.specs.task_record import TaskRecord
    from ray._runtime.values.serialization import Serialized

# Ids of refs count too: a message beyond this could not be sent.
MESSAGE_LIMIT: Final = 64 * 1024 * 1024
_MANY_REFS: Final = 100_000

_NOTHING: Final[tuple[()]] = ()


class Arguments:
    """Encoded arguments of one call. `refs` are the top-level ones, `nested` those inside other values."""

    __slots__ = ("nested", "refs", "value")

    def __init__(self, value: common_pb2.Value, refs: list[ObjectRef], nested: list[ObjectRef]) -> None:
        self.value = value
        self.refs = refs
        self.nested = nested

    def held(self) -> tuple[bytes, ...]:
        """Ids to count as submitted while the call is unfinished."""
        if not self.refs and not self.nested:
            return _NOTHING
        return tuple(ref._id for ref in self.refs) + tuple(ref._id for ref in self.nested)


def encode(
    process: Process, args: tuple[Any, ...], kwargs: dict[str, Any], name: str, limit: int | None = None
) -> Arguments:
    """Encode the arguments of a call of `name`. When they are over `limit` bytes, large ones go to the object store.

    raises: TypeError when an argument cannot be pickled; ObjectStoreFullError when a large one finds no room.
    """
    refs: list[ObjectRef] = []
    # By their types, here and below: isinstance also asks a value's own __class__, and runs the user's code by it.
    for arg in args:
        if issubclass(type(arg), ObjectRef):
            return _encode_with_refs(process, args, kwargs, name, limit)
    for arg in kwargs.values():
        if issubclass(type(arg), ObjectRef):
            return _encode_with_refs(process, args, kwargs, name, limit)
    serialized = _serialize(args, kwargs, (args, kwargs), name)
    if serialized.size > (inline.limit if limit is None else limit):
        large_args, large_kwargs, _ = _put_large(process, args, kwargs, inline.limit)
        return _encode_with_refs(process, large_args, large_kwargs, name)
    if serialized.contained:
        process.arena.flush()
    return Arguments(_value_of(serialized, name), refs, serialized.contained)


def _encode_with_refs(
    process: Process, args: tuple[Any, ...], kwargs: dict[str, Any], name: str, limit: int | None = None
) -> Arguments:
    refs: list[ObjectRef] = []
    positions: list[int] = []
    keywords: list[str] = []
    plain = list(args)
    for position, arg in enumerate(args):
        if issubclass(type(arg), ObjectRef):
            positions.append(position)
            refs.append(arg)
            plain[position] = None
    plain_kwargs = dict(kwargs)
    for keyword, arg in kwargs.items():
        if issubclass(type(arg), ObjectRef):
            keywords.append(keyword)
            refs.append(arg)
            plain_kwargs[keyword] = None
    serialized = _serialize(tuple(plain), plain_kwargs, (tuple(plain), plain_kwargs, positions, keywords), name)
    if serialized.size > (inline.limit if limit is None else limit):
        whole = process.tuning.call_inline_bytes
        for most in (inline.limit, whole // (2 * (len(args) + len(kwargs)))):
            large_args, large_kwargs, changed = _put_large(process, args, kwargs, most)
            if changed:
                return _encode_with_refs(process, large_args, large_kwargs, name)
            if serialized.size <= whole:
                break
    # Whoever runs it will look for what was put a moment ago.
    process.arena.flush()
    return Arguments(_value_of(serialized, name), refs, serialized.contained)


def _serialize(args: tuple[Any, ...], kwargs: dict[str, Any], whole: object, name: str) -> Serialized:
    """Pickle all arguments at once. raises: TypeError naming the one that cannot be, and the callee."""
    try:
        return serialize(whole)
    except TypeError as error:
        for argument in (*args, *kwargs.values()):
            try:
                serialize(argument)
            except TypeError as its_own:
                raise TypeError(f"Could not serialize the argument {shown(argument)} of {name}: {its_own}") from None
        raise error


def _put_large(
    process: Process, args: tuple[Any, ...], kwargs: dict[str, Any], most: int
) -> tuple[tuple[Any, ...], dict[str, Any], bool]:
    """Replace every argument whose pickled form is over `most` bytes by a ref to it; and whether there was one."""
    new_args = tuple(_put_if_large(process, arg, most) for arg in args)
    new_kwargs = {keyword: _put_if_large(process, arg, most) for keyword, arg in kwargs.items()}
    changed = any(new is not old for new, old in zip(new_args, args, strict=True))
    return new_args, new_kwargs, changed or any(new_kwargs[keyword] is not kwargs[keyword] for keyword in kwargs)


def _put_if_large(process: Process, value: Any, most: int) -> Any:
    if issubclass(type(value), ObjectRef):
        return value
    serialized = serialize(value)
    if serialized.size <= most:
        return value
    return process.put_serialized(serialized)


def first_error(objects: ObjectTable, refs: list[ObjectRef]) -> common_pb2.Value | None:
    """The error among the values of these refs, which all are ready: the call then fails with it, unrun."""
    for ref in refs:
        entry = objects.get(ref._id)
        if entry is not None and entry.value is not None and entry.value.kind == ERROR:
            return entry.value
    return None


def fill(process: Process, message: worker_pb2.Task, refs: list[ObjectRef]) -> None:
    """Name the values of the refs in the message; all are ready. The lock is held.

    Small ones are in it, up to call_inline_bytes; those beyond it the worker asks their owner for.
    """
    room = process.tuning.call_inline_bytes
    for ref in refs:
        entry = process.objects.get(ref._id)
        assert entry is not None, "a ref that is held has an entry"
        argument = message.arguments.add()
        carried = entry.state is ObjectState.INLINE
        if carried:
            assert entry.value is not None
            room -= entry.value.ByteSize()
        if carried and room >= 0:
            argument.value.CopyFrom(entry.value)  # type: ignore[arg-type]
        else:
            if not carried:
                argument.stored.size = entry.size
                argument.stored.generation = entry.generation
                argument.stored.node_ids.extend(entry.nodes)
            argument.ref.object_id = ref._id
            owner = ref._owner or process.address
            argument.ref.owner.node_id, argument.ref.owner.worker_id = owner


def complete(
    process: Process, record: TaskRecord, message: worker_pb2.Task, refs: list[ObjectRef]
) -> common_pb2.Value | None:
    """Serialize the message of a call whose arguments all are ready; the lock is held. returns: why the call fails."""
    error = first_error(process.objects, refs)
    if error is None:
        fill(process, message, refs)
        data = message.SerializeToString()
        if len(data) > MESSAGE_LIMIT:
            return error_value(_too_large(record.name, len(data)))
        record.message = data
    elif process.unread.errors:
        process.unread.inherited(record, refs)
    return error


def _too_large(name: str, size: int) -> ValueError:
    return ValueError(
        f"the message of a call of {name} has {size} bytes, over the limit of {MESSAGE_LIMIT}: it names too many refs; "
        "put them into one object with ray.put() and pass that"
    )


def _value_of(serialized: Serialized, name: str) -> common_pb2.Value:
    value = serialized.to_proto()
    if len(serialized.contained) > _MANY_REFS and value.ByteSize() > MESSAGE_LIMIT:
        raise _too_large(name, value.ByteSize())
    return value


def refresh(process: Process, message: worker_pb2.Task) -> None:
    """Name the values of stored arguments anew: they were made again since, and all are ready. The lock is held."""
    for argument in message.arguments:
        entry = process.objects.get(argument.ref.object_id) if argument.HasField("stored") else None
        if entry is None:
            continue
        if entry.state is ObjectState.INLINE:
            argument.ClearField("stored")  # the worker asks its owner for it
        else:
            argument.stored.size = entry.size
            argument.stored.generation = entry.generation
            argument.stored.node_ids[:] = entry.nodes


def decode(value: Any, resolved: list[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Put the values of the refs into their places. value: what was pickled; resolved: in the order of the refs."""
    if len(value) == 2:
        return value  # type: ignore[no-any-return]
    args, kwargs, positions, keywords = value
    filled = list(args)
    for position, argument in zip(positions, resolved, strict=False):
        filled[position] = argument
    for keyword, argument in zip(keywords, resolved[len(positions) :], strict=True):
        kwargs[keyword] = argument
    return tuple(filled), kwargs


def all_ready(process: Process, refs: list[ObjectRef]) -> bool:
    """Whether when_ready() would go on at once."""
    with process.lock:
        entries = [process.objects.get(ref._id) for ref in refs]
    return all(entry is not None and entry.state is not ObjectState.PENDING for entry in entries)


def when_ready(process: Process, record: TaskRecord, refs: list[ObjectRef], proceed: Callable[[], None]) -> None:
    """Call proceed() once all refs are ready; now, on this thread, if they are."""

    def one_ready(_object_id: bytes) -> None:
        with process.lock:
            record.missing -= 1
            if record.missing:
                return
        proceed()

    record.missing = 1
    with process.lock:
        for ref in refs:
            if not process.objects.when_ready(ref._id, one_ready):
                record.missing += 1
    for ref in refs:
        process.inquiries.want(ref)
    one_ready(b"")
    process.after_lock()
