"""RuntimeEnv: what a job, task or actor needs around its code. Environment variables now; packages and files later."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Final

_DEFAULT_SETUP_TIMEOUT_S: Final = 600


class RuntimeEnvConfig(dict[str, Any]):
    """How an environment is made. setup_timeout_seconds: -1 for none. eager_install: when the job starts."""

    known_fields: ClassVar[set[str]] = {"setup_timeout_seconds", "eager_install", "log_files"}

    def __init__(
        self,
        setup_timeout_seconds: int = _DEFAULT_SETUP_TIMEOUT_S,
        eager_install: bool = True,
        log_files: list[str] | None = None,
    ) -> None:
        if isinstance(setup_timeout_seconds, bool) or not isinstance(setup_timeout_seconds, int):
            raise TypeError(f"setup_timeout_seconds must be an int, not {setup_timeout_seconds!r}")
        if setup_timeout_seconds < 1 and setup_timeout_seconds != -1:
            raise ValueError(f"setup_timeout_seconds must be > 0, or -1 for no limit, not {setup_timeout_seconds}")
        if not isinstance(eager_install, bool):
            raise TypeError(f"eager_install must be True or False, not {eager_install!r}")
        if log_files is not None and not (isinstance(log_files, list) and all(isinstance(f, str) for f in log_files)):
            raise TypeError(f"log_files must be a list of strings, not {log_files!r}")
        super().__init__(
            setup_timeout_seconds=setup_timeout_seconds, eager_install=eager_install, log_files=log_files or []
        )

    @staticmethod
    def parse_and_validate_runtime_env_config(config: Mapping[str, Any] | RuntimeEnvConfig) -> RuntimeEnvConfig:
        """raises: TypeError, ValueError naming the bad field."""
        if isinstance(config, RuntimeEnvConfig):
            return config
        if not isinstance(config, Mapping):
            raise TypeError(f"runtime_env['config'] must be a dict or RuntimeEnvConfig, not {config!r}")
        unknown = set(config) - RuntimeEnvConfig.known_fields
        if unknown:
            warnings.warn(f"unknown fields of runtime_env['config'] are ignored: {sorted(unknown)}", stacklevel=2)
        return RuntimeEnvConfig(**{name: config[name] for name in config if name in RuntimeEnvConfig.known_fields})

    @classmethod
    def default_config(cls) -> RuntimeEnvConfig:
        return cls()

    def build_proto_runtime_env_config(self) -> str:
        """The form in which it travels: JSON."""
        return json.dumps(self, sort_keys=True)

    @classmethod
    def from_proto(cls, runtime_env_config: str) -> RuntimeEnvConfig:
        return cls.parse_and_validate_runtime_env_config(json.loads(runtime_env_config))

    def to_dict(self) -> dict[str, Any]:
        return dict(self)


class RuntimeEnv(dict[str, Any]):
    """A runtime environment: a dict of known fields, each checked when it is set.

    env_vars, py_executable and, for a whole job, worker_process_setup_hook are honoured. Other fields are kept, and
    whoever asks for a job, task or actor with one gets a RuntimeEnvSetupError. raises: TypeError, ValueError naming
    the bad field.
    """

    known_fields: ClassVar[set[str]] = {
        "py_modules",
        "py_executable",
        "java_jars",
        "working_dir",
        "conda",
        "pip",
        "uv",
        "container",
        "excludes",
        "env_vars",
        "_ray_release",
        "_ray_commit",
        "_inject_current_ray",
        "config",
        "worker_process_setup_hook",
        "_nsight",
        "nsight",
        "_rocprof_sys",
        "rocprof_sys",
        "image_uri",
    }
    extensions_fields: ClassVar[set[str]] = {"_ray_release", "_ray_commit", "_inject_current_ray"}
    # excludes says what of a working_dir to leave out: of none, nothing.
    honoured_fields: ClassVar[set[str]] = {
        *("env_vars", "config", "excludes", "py_executable", "worker_process_setup_hook"),
        *extensions_fields,
    }

    def __init__(
        self,
        *,
        py_modules: list[str] | None = None,
        py_executable: str | None = None,
        working_dir: str | None = None,
        pip: Any = None,
        conda: Any = None,
        container: Mapping[str, Any] | None = None,
        env_vars: Mapping[str, str] | None = None,
        worker_process_setup_hook: Any = None,
        nsight: Any = None,
        rocprof_sys: Any = None,
        config: Mapping[str, Any] | RuntimeEnvConfig | None = None,
        _validate: bool = True,
        image_uri: str | None = None,
        uv: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        fields = {
            "py_modules": py_modules,
            "py_executable": py_executable,
            "working_dir": working_dir,
            "pip": pip,
            "conda": conda,
            "container": container,
            "env_vars": env_vars,
            "worker_process_setup_hook": worker_process_setup_hook,
            "_nsight": nsight,
            "_rocprof_sys": rocprof_sys,
            "config": config,
            "image_uri": image_uri,
            "uv": uv,
            **kwargs,
        }
        for name, value in fields.items():
            if value is not None:
                self._store(name, value, _validate)
        if _validate:
            _check_exclusive(self)

    def _store(self, name: str, value: Any, validate: bool) -> None:
        if validate:
            check = _CHECKS.get(name)
            if check is not None:
                value = check(value)
        super().__setitem__(name, value)

    def __setitem__(self, name: str, value: Any) -> None:
        self._store(name, value, True)

    def set(self, name: str, value: Any) -> None:
        """Set one field, checked. value: None takes it away."""
        if value is None:
            self.pop(name, None)
        else:
            self[name] = value

    def _text(self, name: str) -> str | None:
        value = self.get(name)
        return None if value is None else str(value)

    def get(self, name: str, default: Any = None, data_class: Any = None) -> Any:
        """One field; data_class: a class that is called with the field's content."""
        if name not in self:
            return default
        value = self[name]
        return value if data_class is None else data_class(**value)

    def serialize(self) -> str:
        """JSON with sorted keys: equal environments give equal strings."""
        shown: Mapping[str, Any] = self
        if "worker_process_setup_hook" in self:
            from ray._setup_hook import name_of

            shown = {**self, "worker_process_setup_hook": name_of(self["worker_process_setup_hook"])}
        try:
            return json.dumps(shown, sort_keys=True)
        except TypeError as error:
            raise TypeError(f"a runtime_env must consist of JSON values: {error}") from None

    @classmethod
    def deserialize(cls, serialized_runtime_env: str) -> RuntimeEnv:
        """raises: ValueError when it is not a JSON object."""
        fields = json.loads(serialized_runtime_env) if serialized_runtime_env else {}
        if not isinstance(fields, dict):
            raise ValueError(f"a serialized runtime_env is a JSON object, not {serialized_runtime_env!r}")
        env = cls(_validate=False)
        for name, value in fields.items():
            env._store(name, value, name == "config")
        return env

    def to_dict(self) -> dict[str, Any]:
        return dict(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return RuntimeEnv.deserialize, (self.serialize(),)

    def env_vars(self) -> dict[str, str]:
        return dict(self.get("env_vars", {}))

    def working_dir(self) -> str:
        return str(self.get("working_dir", ""))

    def has_working_dir(self) -> bool:
        return bool(self.get("working_dir"))

    def working_dir_uri(self) -> str | None:
        return self._text("working_dir")

    def py_modules(self) -> list[str]:
        return list(self.get("py_modules", []))

    def py_modules_uris(self) -> list[str]:
        return self.py_modules()

    def py_executable(self) -> str | None:
        return self._text("py_executable")

    def pip_config(self) -> dict[str, Any]:
        pip = self.get("pip", {})
        return dict(pip) if isinstance(pip, Mapping) else {"packages": list(pip)}

    def has_pip(self) -> bool:
        return bool(self.get("pip"))

    def pip_uri(self) -> str | None:
        return _uri("pip", self.get("pip"))

    def uv_config(self) -> dict[str, Any]:
        uv = self.get("uv", {})
        return dict(uv) if isinstance(uv, Mapping) else {"packages": list(uv)}

    def has_uv(self) -> bool:
        return bool(self.get("uv"))

    def uv_uri(self) -> str | None:
        return _uri("uv", self.get("uv"))

    def virtualenv_name(self) -> str | None:
        pip = self.get("pip")
        return pip if isinstance(pip, str) else None

    def conda_config(self) -> str | None:
        conda = self.get("conda")
        return json.dumps(conda, sort_keys=True) if isinstance(conda, Mapping) else None

    def conda_env_name(self) -> str | None:
        conda = self.get("conda")
        return conda if isinstance(conda, str) else None

    def has_conda(self) -> bool:
        return bool(self.get("conda"))

    def conda_uri(self) -> str | None:
        return _uri("conda", self.get("conda"))

    def image_uri(self) -> str | None:
        return self._text("image_uri")

    def nsight(self) -> Any:
        return self.get("_nsight")

    def rocprof_sys(self) -> Any:
        return self.get("_rocprof_sys")

    def has_py_container(self) -> bool:
        return bool(self.get("container"))

    def py_container_image(self) -> str | None:
        image = (self.get("container") or {}).get("image")
        return None if image is None else str(image)

    def py_container_worker_path(self) -> str | None:
        path = (self.get("container") or {}).get("worker_path")
        return None if path is None else str(path)

    def py_container_run_options(self) -> list[str]:
        return list((self.get("container") or {}).get("run_options", []))

    def get_extension(self, key: str) -> str | None:
        """raises: ValueError for a key that is no extension's."""
        if key not in self.extensions_fields:
            raise ValueError(f"{key!r} is not one of the extension fields {sorted(self.extensions_fields)}")
        return self._text(key)

    def plugins(self) -> list[tuple[str, Any]]:
        """The fields that are no known ones, with their values."""
        return [(name, value) for name, value in self.items() if name not in self.known_fields]

    def plugin_uris(self) -> list[str]:
        return []


def _uri(kind: str, content: Any) -> str | None:
    if not content:
        return None
    import hashlib

    digest = hashlib.sha1(json.dumps(content, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
    return f"{kind}://{digest}"


def _check_env_vars(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise TypeError(f"runtime_env['env_vars'] must be a dict of strings, not {type(value).__name__}: {value!r}")
    for key, text in value.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"runtime_env['env_vars'] must map strings to strings, not {key!r} to {text!r}")
        if not key or "=" in key or "\0" in key + text:
            raise ValueError(f"runtime_env['env_vars'] has a name or value that no environment can hold: {key!r}")
    return dict(value)


def _check_string(field: str) -> Any:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not value:
            raise TypeError(f"runtime_env[{field!r}] must be a non-empty string, not {value!r}")
        return value

    return check


def _check_working_dir(value: Any) -> str:
    import os

    return os.fspath(value) if isinstance(value, os.PathLike) else str(_check_string("working_dir")(value))


def _check_py_modules(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"runtime_env['py_modules'] must be a list, not {type(value).__name__}: {value!r}")
    return value


def _check_packages(field: str) -> Any:
    def check(value: Any) -> Any:
        if isinstance(value, str):
            return value
        packages = value.get("packages") if isinstance(value, Mapping) else value
        if not isinstance(packages, (list, str)):
            raise TypeError(
                f"runtime_env[{field!r}] must be a list of requirements, a file's path or a dict with 'packages', "
                f"not {value!r}"
            )
        return value

    return check


def _check_conda(value: Any) -> Any:
    if not isinstance(value, (str, Mapping)):
        raise TypeError(f"runtime_env['conda'] must be a name, a path or a dict, not {value!r}")
    return value


_CHECKS: Final = {
    "env_vars": _check_env_vars,
    "working_dir": _check_working_dir,
    "py_modules": _check_py_modules,
    "py_executable": _check_string("py_executable"),
    "image_uri": _check_string("image_uri"),
    "pip": _check_packages("pip"),
    "uv": _check_packages("uv"),
    "conda": _check_conda,
    "config": RuntimeEnvConfig.parse_and_validate_runtime_env_config,
}


def _check_exclusive(env: RuntimeEnv) -> None:
    managers = [name for name in ("pip", "uv", "conda") if env.get(name)]
    if len(managers) > 1:
        raise ValueError(f"the fields {' and '.join(map(repr, managers))} of runtime_env exclude each other")
    if env.get("container") and set(env) - {"container", "config", "env_vars"}:
        raise ValueError("the field 'container' of runtime_env goes with 'config' and 'env_vars' only")
    if env.get("image_uri") and set(env) - {"image_uri", "config", "env_vars"}:
        raise ValueError("the field 'image_uri' of runtime_env goes with 'config' and 'env_vars' only")


def refuse_unsupported(env: Mapping[str, Any]) -> None:
    """raises: RuntimeEnvSetupError for fields that are not there yet: the code would run in another environment."""
    names = sorted(name for name, value in env.items() if value and name not in RuntimeEnv.honoured_fields)
    if names:
        from ray.exceptions import RuntimeEnvSetupError

        raise RuntimeEnvSetupError(
            f"{', '.join(names)} not supported yet; workers see the driver's working directory, sys.path and installed "
            "packages, so what is there for the driver need not be named"
        )
