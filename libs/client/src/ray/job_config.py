"""JobConfig: what a driver says of its job when it connects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

_LIFETIMES: Final = ("detached", "non_detached")
_ENCODINGS: Final = ("TEXT", "JSON")


# What logging gives each record.
STANDARD_ATTRIBUTES: Final = frozenset(
    (
        *("args", "asctime", "created", "exc_info", "exc_text", "filename", "funcName", "levelname", "levelno"),
        *("lineno", "message", "module", "msecs", "msg", "name", "pathname", "process", "processName"),
        *("relativeCreated", "stack_info", "thread", "threadName", "taskName"),
    )
)


@dataclass
class LoggingConfig:
    """How the root logger of a job's driver and workers writes, and that of ray.

    encoding: "TEXT" or "JSON". log_level: a name of the logging module. additional_log_standard_attrs: attributes of
    its records that are shown beside those that always are. raises: ValueError for an unknown encoding or attribute.
    """

    encoding: str = "TEXT"
    log_level: str = "INFO"
    additional_log_standard_attrs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.encoding not in _ENCODINGS:
            raise ValueError(f"Invalid encoding type: {self.encoding}. Valid encoding types are: {list(_ENCODINGS)}")
        for name in self.additional_log_standard_attrs:
            if name not in STANDARD_ATTRIBUTES:
                raise ValueError(
                    f"Unknown python logging standard attribute: {name}. The valid attributes are: "
                    f"{sorted(STANDARD_ATTRIBUTES)}"
                )

    def to_dict(self) -> dict[str, Any]:
        """The fields, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> LoggingConfig:
        """From what to_dict gave; keys that are no fields are left out."""
        return cls(**{each.name: d[each.name] for each in fields(cls) if each.name in d})


class JobConfig:
    """A job's settings. jvm_options and code_search_path are kept for other languages and have no effect.

    ray_namespace: names of actors are looked up in it. default_actor_lifetime: "detached" or "non_detached".
    metadata: strings, shown with the job.
    """

    def __init__(
        self,
        jvm_options: list[str] | None = None,
        code_search_path: list[str] | None = None,
        runtime_env: Mapping[str, Any] | None = None,
        _client_job: bool = False,
        metadata: Mapping[str, str] | None = None,
        ray_namespace: str | None = None,
        default_actor_lifetime: str = "non_detached",
        _disable_job_level_lineage_reconstruction: bool = False,
        _py_driver_sys_path: list[str] | None = None,
    ) -> None:
        if isinstance(code_search_path, str):
            raise TypeError(f"code_search_path must be a list of paths, not the string {code_search_path!r}")
        self.jvm_options = list(jvm_options or [])
        self.code_search_path = list(code_search_path or [])
        self._client_job = _client_job
        self.metadata: dict[str, str] = {}
        for key, value in (metadata or {}).items():
            self.set_metadata(key, value)
        self.ray_namespace: str | None = None
        if ray_namespace is not None:
            self.set_ray_namespace(ray_namespace)
        self._default_actor_lifetime = "non_detached"
        self.set_default_actor_lifetime(default_actor_lifetime)
        self._disable_job_level_lineage_reconstruction = _disable_job_level_lineage_reconstruction
        self._py_driver_sys_path = list(_py_driver_sys_path or [])
        self.py_logging_config: LoggingConfig | None = None
        # As ray._setup_hook packs the function of the runtime env, once ray.init() has checked it.
        self.setup_hook: dict[str, str] | None = None
        self.runtime_env: Any = None
        self.set_runtime_env(runtime_env)

    def set_metadata(self, key: str, value: str) -> None:
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"metadata must map strings to strings, not {key!r} to {value!r}")
        self.metadata[key] = value

    def set_runtime_env(self, runtime_env: Mapping[str, Any] | None, validate: bool = False) -> None:
        """raises: TypeError, ValueError for a bad field, when `validate`; ray.init() validates in any case."""
        from ray.runtime_env import RuntimeEnv

        if runtime_env is None:
            self.runtime_env = RuntimeEnv()
        elif isinstance(runtime_env, RuntimeEnv):
            self.runtime_env = runtime_env
        else:
            self.runtime_env = RuntimeEnv(**runtime_env) if validate else dict(runtime_env)

    def set_ray_namespace(self, ray_namespace: str) -> None:
        if not isinstance(ray_namespace, str):
            raise TypeError(f"ray_namespace must be a string, not {type(ray_namespace).__name__}: {ray_namespace!r}")
        self.ray_namespace = ray_namespace

    def set_default_actor_lifetime(self, default_actor_lifetime: str) -> None:
        if default_actor_lifetime not in _LIFETIMES:
            raise ValueError(f"default_actor_lifetime must be one of {_LIFETIMES}, not {default_actor_lifetime!r}")
        self._default_actor_lifetime = default_actor_lifetime

    def set_py_logging_config(self, logging_config: LoggingConfig | None = None) -> None:
        self.py_logging_config = logging_config

    def ensure_logging_config(self, logging_config: LoggingConfig | None = None) -> None:
        """Set it where none is."""
        if self.py_logging_config is None:
            self.py_logging_config = logging_config

    def _env_json(self) -> str:
        from ray.runtime_env import RuntimeEnv

        env = self.runtime_env
        return (env if isinstance(env, RuntimeEnv) else RuntimeEnv(_validate=False, **env)).serialize()

    @property
    def default_actor_lifetime(self) -> str:
        return self._default_actor_lifetime

    def to_json(self) -> str:
        """The JSON that from_json reads; it goes into the job's record."""
        return json.dumps(
            {
                "jvm_options": self.jvm_options,
                "code_search_path": self.code_search_path,
                "runtime_env": json.loads(self._env_json()),
                "metadata": self.metadata,
                "ray_namespace": self.ray_namespace,
                "default_actor_lifetime": self._default_actor_lifetime,
                "_disable_job_level_lineage_reconstruction": self._disable_job_level_lineage_reconstruction,
                "_py_driver_sys_path": self._py_driver_sys_path,
                **({} if self.py_logging_config is None else {"py_logging_config": self.py_logging_config.to_dict()}),
                **({} if self.setup_hook is None else {"setup_hook": self.setup_hook}),
            },
            sort_keys=True,
        )

    @classmethod
    def from_json(cls, job_config_json: Mapping[str, Any] | str) -> JobConfig:
        """From what to_json gave, or the dict it stands for."""
        given = json.loads(job_config_json) if isinstance(job_config_json, str) else job_config_json
        known = (
            "jvm_options",
            "code_search_path",
            "runtime_env",
            "metadata",
            "ray_namespace",
            "default_actor_lifetime",
            "_disable_job_level_lineage_reconstruction",
            "_py_driver_sys_path",
        )
        config = cls(**{name: given[name] for name in known if given.get(name) is not None})
        if given.get("py_logging_config") is not None:
            config.set_py_logging_config(LoggingConfig.from_dict(given["py_logging_config"]))
        return config
