"""A service's settings: one frozen dataclass, filled from flags, then variables, then defaults."""

import dataclasses
import ipaddress
import re
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from typing import Any, Final, NoReturn, TypeVar

import click

from manta_common.credentials import CredentialError, TlsFiles

T = TypeVar("T")

MASK: Final = "***"

# What Kubernetes puts into the environment of each container for a service that happens to be named like our prefix.
_INJECTED_NAME: Final = re.compile(r"_(SERVICE_HOST|SERVICE_PORT|PORT(_\w+)?|SERVICE_PORT_\w+)$")
_INJECTED_VALUE: Final = re.compile(r"(tcp|udp|sctp)://")


class SettingsError(Exception):
    """Settings that cannot be used together; the text names the flags and what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """What every service takes. A subclass with its own __post_init__ calls ServiceSettings.__post_init__(self)."""

    listen: str = field(default="127.0.0.1:0", metadata={"help": "host:port to serve on; port 0 takes any free one"})
    token_file: str = field(default="", metadata={"help": "file with the cluster token"})
    session_dir: str = field(default="", metadata={"help": "folder for sockets, logs and the token of this session"})
    metrics_port: int = field(default=0, metadata={"help": "port of the Prometheus page; 0 takes any free one"})
    tls_ca: str = field(default="", metadata={"help": "PEM file of the authority that signed the certificates"})
    tls_cert: str = field(default="", metadata={"help": "PEM file of this service's certificate"})
    tls_key: str = field(default="", metadata={"help": "PEM file of this service's key"})
    insecure_plaintext: bool = field(default=False, metadata={"help": "allow a non-loopback --listen without TLS"})
    log_level: str = field(default="info", metadata={"help": "debug, info, warning or error"})
    log_file: str = field(default="", metadata={"help": "append the log to this file instead of stderr"})
    ready_fd: int = field(default=-1, metadata={"help": "descriptor that gets one JSON line once the service serves"})
    die_with_parent: bool = field(default=False, metadata={"help": "end when the starting process ends"})

    def __post_init__(self) -> None:
        if self.log_level not in ("debug", "info", "warning", "error"):
            raise SettingsError(f"--log-level {self.log_level!r} is not one of debug, info, warning, error")
        if not 0 <= self.metrics_port <= 65535:
            raise SettingsError(f"--metrics-port {self.metrics_port} is not between 0 and 65535")
        host = host_of(self.listen)
        if self.tls is None and not self.insecure_plaintext and not is_loopback(host):
            raise SettingsError(
                f"--listen {self.listen} can be reached from other machines and has no TLS; "
                "give --tls-ca, --tls-cert and --tls-key, or accept the risk with --insecure-plaintext"
            )

    @property
    def tls(self) -> TlsFiles | None:
        """The TLS files, or None. raises: SettingsError when only some are named."""
        try:
            return TlsFiles.from_paths(self.tls_ca, self.tls_cert, self.tls_key)
        except CredentialError as error:
            raise SettingsError(str(error)) from error


def host_of(listen: str) -> str:
    """The host of "host:port" or "[v6]:port". raises: SettingsError that names the text when it is neither."""
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.%\w]+)\]|([^:\[\]\s]+)):([0-9]{1,5})", listen)
    if match is None or int(match[3]) > 65535:
        raise SettingsError(f"--listen {listen!r} is not host:port; write 127.0.0.1:0, 0.0.0.0:6379 or [::1]:6379")
    return match[1] or match[2]


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the host; a name other than localhost counts as reachable from outside."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def load(
    cls: type[T], *, prefix: str, argv: Sequence[str], env: Mapping[str, str], program: str, description: str = ""
) -> T:
    """Fill a settings dataclass: a flag beats PREFIX_FIELD, that beats an alias, that beats the default.

    prefix: with its underscore, such as "MANTA_RAYLET_". Fields are str, int, float, bool or tuple[str, ...], each
    also with None; metadata: help, alias (a further variable), secret (masked wherever it is shown).
    exits: 0 after --help; 2 with the reason on stderr for an unknown flag or variable, a missing or unusable value,
    or a SettingsError of the dataclass.
    """
    # An empty prefix would make every variable of the environment an unknown setting.
    if not prefix.endswith("_"):
        raise ValueError(f"settings prefix {prefix!r} must end with an underscore, as in MANTA_RAYLET_")
    entries = [_Entry.of(cls, item, prefix) for item in dataclasses.fields(cls) if item.init]  # type: ignore[arg-type]
    command = click.Command(program, params=[entry.option() for entry in entries], help=description or None)
    try:
        context = command.make_context(program, list(argv))
    except click.exceptions.Exit as finish:
        sys.exit(finish.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    _refuse_unknown_variables(context, entries, prefix, env)
    values: dict[str, Any] = {}
    for entry in entries:
        given = context.params[entry.name]
        if given is not None and given != ():
            values[entry.name] = entry.from_flag(given)
        elif (variable := entry.variable_set_in(env)) is not None:
            values[entry.name] = entry.from_variable(context, variable, env[variable])
        elif entry.required:
            _fail(context, f"missing {entry.flag}; give it or set {entry.variables[0]}")
    try:
        return cls(**values)
    except (SettingsError, ValueError) as error:
        _fail(context, str(error))


def describe(settings: Any) -> dict[str, Any]:
    """Every field by name, secrets masked; the first thing that a service logs."""
    return {
        item.name: _shown(getattr(settings, item.name), bool(item.metadata.get("secret")))
        for item in dataclasses.fields(settings)
    }


def _shown(value: Any, secret: bool) -> Any:
    return MASK if secret and value not in (None, "", ()) else value


@dataclass(frozen=True, slots=True)
class _Entry:
    """One field with its flag and its variables."""

    name: str
    kind: type  # str, int, float, bool or tuple
    default: Any  # MISSING when the field must be given
    help: str
    secret: bool
    variables: tuple[str, ...]  # ours, then the alias

    @classmethod
    def of(cls, owner: type, item: "dataclasses.Field[Any]", prefix: str) -> "_Entry":
        default = item.default if item.default_factory is MISSING else item.default_factory()
        alias = item.metadata.get("alias")
        return cls(
            name=item.name,
            kind=_kind(owner, item.name),
            default=default,
            help=item.metadata.get("help", ""),
            secret=bool(item.metadata.get("secret")),
            variables=(prefix + item.name.upper(), *((alias,) if alias else ())),
        )

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def required(self) -> bool:
        return self.default is MISSING

    def option(self) -> click.Option:
        """The click option. It has no default of its own, so that a variable can tell whether the flag was given."""
        kebab = self.name.replace("_", "-")
        names = [self.name, f"--{kebab}/--no-{kebab}" if self.kind is bool else f"--{kebab}"]
        return click.Option(
            names,
            type=str if self.kind is tuple else self.kind,
            multiple=self.kind is tuple,
            default=None,
            help=f"{self.help}  [{self._notes()}]".strip(),
        )

    def _notes(self) -> str:
        notes = ["required"] if self.required else []
        if not self.required and self.default not in (None, "", ()):
            shown = _shown(self.default, self.secret)
            text = ",".join(shown) if isinstance(shown, tuple) else str(shown)
            notes.append(f"default: {text.lower() if self.kind is bool else text}")
        return "; ".join([*notes, f"env: {', '.join(self.variables)}"])

    def variable_set_in(self, env: Mapping[str, str]) -> str | None:
        for variable in self.variables:
            value = env.get(variable)
            if value is None:
                continue
            # MANTA_GCS_METRICS_PORT=tcp://10.0.0.7:80 comes from a Kubernetes service called manta-gcs-metrics.
            if variable.endswith(("_PORT", "_SERVICE_HOST")) and _INJECTED_VALUE.match(value):
                continue
            return variable
        return None

    def from_flag(self, given: Any) -> Any:
        return tuple(part for text in given for part in _split(text)) if self.kind is tuple else given

    def from_variable(self, context: click.Context, variable: str, text: str) -> Any:
        if self.kind is tuple:
            return tuple(_split(text))
        try:
            return click.types.convert_type(self.kind).convert(text, None, context)
        except click.BadParameter as error:
            # click's text repeats the value.
            reason = f"not a valid {self.kind.__name__}" if self.secret else error.format_message()
            _fail(context, f"variable {variable}: {reason}")


def _split(text: str) -> list[str]:
    return [part for part in (piece.strip() for piece in text.split(",")) if part]


def _kind(owner: type, name: str) -> type:
    """The plain type of a field. raises: TypeError for one that no flag can carry; a bug of the settings class."""
    hint = typing.get_type_hints(owner)[name]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        plain = [part for part in typing.get_args(hint) if part is not type(None)]
        hint = plain[0] if len(plain) == 1 else hint
    if hint == tuple[str, ...]:
        return tuple
    if hint not in (str, int, float, bool):
        raise TypeError(f"{owner.__name__}.{name}: {hint} is not str, int, float, bool or tuple[str, ...]")
    return typing.cast(type, hint)


def _refuse_unknown_variables(
    context: click.Context, entries: Sequence[_Entry], prefix: str, env: Mapping[str, str]
) -> None:
    known = {variable for entry in entries for variable in entry.variables}
    for variable in sorted(env):
        if not variable.startswith(prefix) or variable in known:
            continue
        if _INJECTED_NAME.search(variable) or _INJECTED_VALUE.match(env[variable]):
            continue
        _fail(context, f"unknown variable {variable}; unset it, or see --help for the names that {prefix}* may have")


def _fail(context: click.Context, message: str) -> NoReturn:
    click.UsageError(message, context).show()
    sys.exit(2)
