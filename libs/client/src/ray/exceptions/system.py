"""Errors of the cluster and of the runtime itself."""

from __future__ import annotations

from typing import Any

from ray.exceptions.base import RayError, _FixedError, _MessageError


class NodeDiedError(RayError):
    """The node is gone, or unreachable for long enough to count as gone."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return str(self.message)


class LocalRayletDiedError(_FixedError):
    """The raylet of this process's own node died."""

    default_text = "The raylet of this node died; its log (logs/raylet.err in the session folder) may say why."


class ObjectManagerUnavailableError(_FixedError):
    """This node's object manager is gone and was not back in time; the object store cannot be used meanwhile.

    Its objects on this node are lost. A later call works once its supervisor has started it again.
    """

    default_text = (
        "The object manager of this node is gone and did not come back; its log (logs/object-manager.err in the "
        "session folder) may say why."
    )


class RuntimeEnvSetupError(RayError):
    """The runtime environment of a task, actor or job could not be made."""

    def __init__(self, error_message: str | None = None) -> None:
        super().__init__(error_message)
        self.error_message = error_message

    def __str__(self) -> str:
        reason = f": {self.error_message}" if self.error_message else ""
        return f"The runtime environment could not be set up{reason}"


class UnserializableException(RayError):
    """An error came from another process and cannot be rebuilt here; its text is kept."""

    def __init__(self, original_stack_trace: str) -> None:
        super().__init__(original_stack_trace)
        self.original_stack_trace = original_stack_trace

    def __str__(self) -> str:
        return (
            "The remote code raised an error whose class or content cannot be rebuilt in this process. "
            f"What is known of it:\n{self.original_stack_trace}"
        )


class CrossLanguageError(_MessageError):
    """A worker of another language failed."""


class AuthenticationError(RayError):
    """The cluster refused this process's token, or it has none."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return (
            f"{self.message}. The token is looked for in MANTA_TOKEN, MANTA_TOKEN_FILE, RAY_AUTH_TOKEN, "
            "RAY_AUTH_TOKEN_PATH and the session folder."
        )


class RpcError(RayError):
    """A service did not answer as it should. rpc_code: the gRPC status code's number, where there is one."""

    def __init__(self, message: str, rpc_code: int | None = None) -> None:
        super().__init__(message, rpc_code)
        self.message, self.rpc_code = message, rpc_code

    def __str__(self) -> str:
        return str(self.message)


class RaySystemError(RayError):
    """The runtime itself failed, or has not what was asked for."""

    def __init__(self, client_exc: Any, traceback_str: str | None = None) -> None:
        super().__init__(client_exc, traceback_str)
        self.client_exc, self.traceback_str = client_exc, traceback_str

    def __str__(self) -> str:
        text = f"System error: {self.client_exc}"
        return f"{text}\n{self.traceback_str}" if self.traceback_str else text


class StreamingGeneratorReplayInconsistentError(RaySystemError):
    """A streaming generator, run again after a failure, made other objects than the first time."""


class RayChannelError(RaySystemError):
    """A compiled graph's channel failed."""


class RayChannelTimeoutError(RayChannelError, TimeoutError):
    """A compiled graph's channel had nothing within the time given."""


class RayCgraphCapacityExceeded(RaySystemError):
    """A compiled graph has as many executions under way as it may."""
