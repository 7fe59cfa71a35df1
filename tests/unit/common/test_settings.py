from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from manta_common.settings import ServiceSettings, describe, load


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample(ServiceSettings):
    gcs: tuple[str, ...] = field(default=(), metadata={"help": "host:port of the GCS"})
    num_cpus: float | None = field(default=None, metadata={"help": "logical CPUs", "alias": "RAY_NUM_CPUS"})
    spillback_limit: int = 8
    reap: bool = True
    password: str = field(default="", metadata={"secret": True})
    max_workers: int = field(default=3, metadata={"secret": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class Demanding:
    store: str


def sample(*argv: str, **env: str) -> Sample:
    return load(Sample, prefix="MANTA_S_", argv=argv, env=env, program="manta-sample", description="A sample.")


def refusal(
    capsys: pytest.CaptureFixture[str], argv: list[str], env: Mapping[str, str], cls: type[Any] = Sample
) -> str:
    with pytest.raises(SystemExit) as finish:
        load(cls, prefix="MANTA_S_", argv=argv, env=env, program="manta-sample")
    assert finish.value.code == 2
    return " ".join(capsys.readouterr().err.split())


def test_without_anything_the_defaults_hold() -> None:
    assert sample() == Sample()


def test_a_flag_beats_a_variable_and_a_variable_beats_the_default() -> None:
    assert sample("--spillback-limit", "2", MANTA_S_SPILLBACK_LIMIT="5").spillback_limit == 2
    assert sample(MANTA_S_SPILLBACK_LIMIT="5").spillback_limit == 5
    assert sample("--spillback-limit=8", MANTA_S_SPILLBACK_LIMIT="5").spillback_limit == 8


def test_our_variable_beats_its_alias() -> None:
    assert sample(RAY_NUM_CPUS="1.5").num_cpus == 1.5
    assert sample(RAY_NUM_CPUS="1.5", MANTA_S_NUM_CPUS="2").num_cpus == 2.0


def test_booleans_have_both_flags_and_a_variable() -> None:
    assert sample("--no-reap").reap is False
    assert sample("--reap", MANTA_S_REAP="false").reap is True
    assert sample(MANTA_S_REAP="0").reap is False


def test_tuples_are_repeated_or_comma_separated() -> None:
    assert sample("--gcs", "a:1,b:2", "--gcs", "c:3").gcs == ("a:1", "b:2", "c:3")
    assert sample(MANTA_S_GCS=" a:1, b:2,").gcs == ("a:1", "b:2")


def test_an_unknown_variable_of_the_prefix_stops_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown variable MANTA_S_SPILBACK_LIMIT" in refusal(capsys, [], {"MANTA_S_SPILBACK_LIMIT": "1"})


def test_other_prefixes_are_nobodys_business() -> None:
    assert sample(MANTA_OTHER_THING="1", MANTA_SX="2") == Sample()


def test_what_kubernetes_injects_is_let_through() -> None:
    injected = {
        "MANTA_S_SERVICE_HOST": "10.0.0.7",
        "MANTA_S_SERVICE_PORT": "6379",
        "MANTA_S_SERVICE_PORT_RPC": "6379",
        "MANTA_S_PORT": "tcp://10.0.0.7:6379",
        "MANTA_S_PORT_6379_TCP": "tcp://10.0.0.7:6379",
        "MANTA_S_PORT_6379_TCP_PROTO": "tcp",
        "MANTA_S_PORT_6379_TCP_ADDR": "10.0.0.7",
        "MANTA_S_PORT_6379_TCP_PORT": "6379",
        "MANTA_S_METRICS_PORT": "tcp://10.0.0.8:80",
    }
    assert sample(**injected) == Sample()


@pytest.mark.parametrize(
    ("argv", "env", "named"),
    [
        (["--nonsense"], {}, "--nonsense"),
        (["stray"], {}, "stray"),
        (["--spillback-limit", "many"], {}, "--spillback-limit"),
        ([], {"MANTA_S_SPILLBACK_LIMIT": "many"}, "MANTA_S_SPILLBACK_LIMIT"),
        ([], {"MANTA_S_REAP": "perhaps"}, "MANTA_S_REAP"),
        (["--listen", "127.0.0.1"], {}, "--listen '127.0.0.1'"),
        (["--listen", "127.0.0.1:70000"], {}, "--listen"),
        (["--log-level", "loud"], {}, "--log-level 'loud'"),
        (["--tls-ca", "x"], {}, "--tls-cert, --tls-key"),
    ],
)
def test_an_unusable_value_stops_the_start_by_name(
    capsys: pytest.CaptureFixture[str], argv: list[str], env: dict[str, str], named: str
) -> None:
    assert named in refusal(capsys, argv, env)


def test_a_field_without_default_must_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert "missing --store" in refusal(capsys, [], {}, Demanding)
    given = load(Demanding, prefix="MANTA_S_", argv=["--store", "sqlite:memory"], env={}, program="x")
    assert given == Demanding(store="sqlite:memory")


def test_help_names_flags_variables_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as finish:
        sample("--help")
    assert finish.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for expected in ("A sample.", "--gcs", "host:port of the GCS", "RAY_NUM_CPUS", "default: 127.0.0.1:0", "--no-reap"):
        assert expected in text


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:6379", "10.1.2.3:1", "node-7.example:1"])
def test_a_listener_that_others_reach_needs_tls_or_consent(capsys: pytest.CaptureFixture[str], listen: str) -> None:
    assert "--insecure-plaintext" in refusal(capsys, ["--listen", listen], {})
    assert sample("--listen", listen, "--insecure-plaintext").tls is None
    secured = sample("--listen", listen, "--tls-ca", "a", "--tls-cert", "b", "--tls-key", "c").tls
    assert secured is not None and secured.cert == "b"


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.8.0.1:1", "[::1]:6379", "localhost:0"])
def test_loopback_needs_neither(listen: str) -> None:
    assert sample("--listen", listen).listen == listen


def test_secrets_are_masked_wherever_they_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert describe(sample("--password", "hush"))["password"] == "***"
    assert describe(sample())["password"] == ""
    assert "hush" not in refusal(capsys, [], {"MANTA_S_MAX_WORKERS": "hush"})


def test_a_type_that_no_flag_can_carry_is_a_bug_that_shows_at_once() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Wrong:
        table: dict[str, int] = field(default_factory=dict)

    with pytest.raises(TypeError, match="table"):
        load(Wrong, prefix="MANTA_W_", argv=[], env={}, program="x")
