"""ray.init(): which arguments are taken, warned about or refused, and what is undone when it fails."""

from __future__ import annotations

import json
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import ray._node
from ray import _init
from ray._node import ClusterAddress
from ray._runtime import current
from ray.exceptions import RuntimeEnvSetupError
from ray.job_config import JobConfig

from tests.unit.client.recording_runtime import RecordingRuntime


class Recorder:
    """Stands for the starting of nodes and the connecting, which tests of real processes cover."""

    def __init__(self) -> None:
        self.node_options: list[Any] = []
        self.jobs: list[JobConfig] = []
        self.connected: list[Any] = []
        self.stopped = 0
        self.running: ClusterAddress | None = None
        self.fail = False

    def find_address(self, address: str | None, temp_root: str = "") -> ClusterAddress | None:
        return None if address == "local" else self.running

    def start_local(self, options: Any, meanwhile: Any) -> Any:
        self.node_options.append(options)

        def stop() -> None:
            self.stopped += 1

        return SimpleNamespace(
            stop=stop,
            gcs_addresses=("127.0.0.1:1",),
            session_dir="/s",
            node_ip=options.node_ip,
            raylet_socket="/s/raylet.sock",
            object_manager_socket="/s/om.sock",
            metrics_port=8080,
        )

    def connect(self, address: Any, node: Any, job: JobConfig, *rest: Any) -> RecordingRuntime:
        if self.fail:
            raise ConnectionError("no answer")
        self.jobs.append(job)
        self.connected.append((address, node, *rest))
        runtime = RecordingRuntime()
        current.set_runtime(runtime)  # type: ignore[arg-type]
        return runtime


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    made = Recorder()
    monkeypatch.setattr(ray._node, "find_address", made.find_address)
    monkeypatch.setattr(ray._node, "start_local", made.start_local)
    monkeypatch.setattr(_init, "_connect", made.connect)
    monkeypatch.delenv("RAY_NAMESPACE", raising=False)
    yield made
    ray.shutdown()
    assert current.runtime_or_none() is None


def test_a_new_cluster_gets_what_was_asked_for_and_ends_with_shutdown(recorder: Recorder) -> None:
    assert not ray.is_initialized()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        context = ray.init(
            num_cpus=3,
            num_gpus=1,
            resources={"disk": 2},
            labels={"zone": "a"},
            object_store_memory=10**8,
            namespace="mine",
            runtime_env={"env_vars": {"A": "1"}},
            include_dashboard=False,
            log_to_driver=False,
            logging_level="warning",
            _temp_dir="/tmp/x",
            _node_ip_address="127.0.0.1",
            _system_config={"scheduler_spread_threshold": 0.3},
        )
    assert ray.is_initialized()
    (options,) = recorder.node_options
    assert (options.num_cpus, options.num_gpus, options.object_store_memory) == (3, 1, 10**8)
    assert (dict(options.resources), dict(options.labels), options.temp_dir) == ({"disk": 2}, {"zone": "a"}, "/tmp/x")
    assert options.system_config == {"scheduler_spread_threshold": 0.3}
    assert recorder.jobs[0].ray_namespace == "mine"
    assert recorder.jobs[0].runtime_env.env_vars() == {"A": "1"}
    assert context["gcs_address"] == context.address_info["gcs_address"]
    assert context.dashboard_url == ""
    assert {"node_id", "session_dir", "raylet_socket_name"} <= set(context)
    ray.shutdown()
    assert not ray.is_initialized()
    assert recorder.stopped == 1
    ray.shutdown()
    assert recorder.stopped == 1


def test_a_second_init_is_refused_or_ignored(recorder: Recorder) -> None:
    first = ray.init()
    with pytest.raises(RuntimeError, match="ignore_reinit_error"):
        ray.init()
    assert ray.init(ignore_reinit_error=True, num_cpus=5) is first
    assert len(recorder.node_options) == 1


def test_the_context_disconnects_when_it_is_left(recorder: Recorder) -> None:
    with ray.init():
        assert ray.is_initialized()
    assert not ray.is_initialized()


def test_a_program_that_never_calls_init_is_connected_by_its_first_call(recorder: Recorder) -> None:
    @ray.remote
    def f() -> None: ...

    f.remote()
    assert ray.is_initialized()
    assert len(recorder.node_options) == 1


def test_unknown_arguments_are_refused_with_the_known_ones(recorder: Recorder) -> None:
    with pytest.raises(RuntimeError, match="num_cpu"):
        ray.init(num_cpu=1)
    assert recorder.node_options == []


def test_a_running_cluster_is_joined_and_its_nodes_are_as_they_are(recorder: Recorder) -> None:
    recorder.running = ClusterAddress(("10.0.0.1:6379",), "/s")
    with pytest.raises(ValueError, match="num_cpus, resources"):
        ray.init(num_cpus=1, resources={"a": 1})
    context = ray.init("10.0.0.1:6379")
    assert (context["node_ip_address"], context["raylet_socket_name"]) == ("10.0.0.1", "/n/raylet.sock")
    assert recorder.node_options == []
    assert recorder.connected[0][:2] == (recorder.running, None)


def test_a_node_is_ended_when_connecting_fails(recorder: Recorder) -> None:
    recorder.fail = True
    with pytest.raises(ConnectionError):
        ray.init()
    assert recorder.stopped == 1
    assert not ray.is_initialized()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"include_dashboard": True}, "include_dashboard"),
        ({"local_mode": True}, "local_mode"),
        ({"_plasma_directory": "/dev/shm"}, "_plasma_directory"),
        ({"_system_config": {"no_such_key": 1}}, "no_such_key"),
    ],
)
def test_what_has_no_effect_yet_is_warned_about(recorder: Recorder, options: dict[str, Any], words: str) -> None:
    with pytest.warns(UserWarning, match=words):
        ray.init(**options)


@pytest.mark.parametrize("given", ["runtime_env", "job_config"])
@pytest.mark.parametrize("env", [{"pip": ["requests"]}, {"working_dir": "."}, {"py_modules": ["m"]}, {"plugin": 1}])
def test_a_runtime_env_that_is_not_there_yet_is_refused_before_a_cluster_is_started(
    recorder: Recorder, env: dict[str, Any], given: str
) -> None:
    options = {"runtime_env": env} if given == "runtime_env" else {"job_config": JobConfig(runtime_env=env)}
    with pytest.raises(RuntimeEnvSetupError, match=f"{next(iter(env))} not supported yet"):
        ray.init(**options)
    assert not recorder.connected
    ray.init(runtime_env=dict.fromkeys(env))


def env_hook(env: dict[str, Any] | None) -> dict[str, Any]:
    return {"env_vars": {"GIVEN": str(env)}}


def test_the_hook_of_the_environment_makes_the_runtime_env(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_RUNTIME_ENV_HOOK", "tests.unit.client.test_init_arguments.env_hook")
    ray.init()
    ray.shutdown()
    ray.init(runtime_env={"env_vars": {"A": "1"}})
    ray.shutdown()
    ray.init(runtime_env={"env_vars": {"A": "1"}}, _skip_env_hook=True)
    assert [job.runtime_env["env_vars"] for job in recorder.jobs] == [
        {"GIVEN": "None"},
        {"GIVEN": "{'env_vars': {'A': '1'}}"},
        {"A": "1"},
    ]
    ray.shutdown()
    monkeypatch.setenv("RAY_RUNTIME_ENV_HOOK", "no_such_module.hook")
    with pytest.raises(ModuleNotFoundError):
        ray.init()


def test_a_setup_hook_travels_in_the_job_config(recorder: Recorder) -> None:
    for hook in (env_hook, "module.hook"):
        ray.init(runtime_env={"worker_process_setup_hook": hook})
        ray.shutdown()
    first, second = (json.loads(job.to_json()) for job in recorder.jobs)
    assert first["setup_hook"]["name"] == first["runtime_env"]["worker_process_setup_hook"] == "env_hook"
    assert first["setup_hook"]["pickled"]
    assert second["setup_hook"] == {"name": "module.hook"}
    with pytest.raises(TypeError, match="must be a function, got <class 'int'>"):
        ray.init(runtime_env={"worker_process_setup_hook": 3})
    lock = threading.Lock()
    with pytest.raises(RuntimeEnvSetupError, match="Failed to export the setup function"):
        ray.init(runtime_env={"worker_process_setup_hook": lambda: lock})


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"namespace": ""}, ValueError),
        ({"namespace": 3}, TypeError),
        ({"runtime_env": 3}, TypeError),
        ({"runtime_env": {"env_vars": {"A": 1}}}, TypeError),
        ({"job_config": 3}, TypeError),
        ({"_system_config": [1]}, TypeError),
    ],
)
def test_bad_arguments_are_refused(recorder: Recorder, options: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        ray.init(**options)
    assert recorder.node_options == []


def test_the_job_config_is_used_and_beaten_by_the_arguments(recorder: Recorder) -> None:
    job = JobConfig(ray_namespace="of job", metadata={"who": "me"}, runtime_env={"env_vars": {"A": "1"}})
    ray.init(job_config=job, namespace="of init")
    assert recorder.jobs[0].ray_namespace == "of init"
    assert recorder.jobs[0].metadata == {"who": "me"}
    assert recorder.jobs[0].runtime_env.env_vars() == {"A": "1"}


def test_the_environment_names_the_namespace(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_NAMESPACE", "from outside")
    ray.init()
    assert recorder.jobs[0].ray_namespace == "from outside"


def test_a_forked_child_ends_nothing_and_cannot_connect(recorder: Recorder) -> None:
    ray.init()
    assert _init._connection is not None
    _init._connection.pid += 1
    current.set_forked()
    with pytest.raises(RuntimeError, match="forked"):
        ray.init()
    ray.shutdown()
    assert recorder.stopped == 0
    current.set_runtime(None)


def test_a_job_config_comes_back_from_json() -> None:
    job = JobConfig(ray_namespace="n", metadata={"a": "b"}, default_actor_lifetime="detached")
    again = JobConfig.from_json(job.to_json())
    assert again.to_json() == job.to_json()
    with pytest.raises(ValueError, match="default_actor_lifetime"):
        JobConfig(default_actor_lifetime="long")
    with pytest.raises(TypeError, match="metadata"):
        JobConfig(metadata={"a": 1})  # type: ignore[dict-item]


def test_a_child_that_was_forked_while_a_thread_connected_can_leave() -> None:
    holds, go_on = threading.Event(), threading.Event()

    def connects() -> None:
        with _init._lock:
            holds.set()
            assert go_on.wait(60.0)

    thread = threading.Thread(target=connects)
    thread.start()
    assert holds.wait(60.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Python 3.12: that is what programs do
        pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        ray.shutdown()
        os._exit(0)
    try:
        assert os.waitpid(pid, 0)[1] == 0, "it waited for a thread that it does not have"
    finally:
        go_on.set()
        thread.join()
