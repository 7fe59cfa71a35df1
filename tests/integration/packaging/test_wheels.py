"""Each part builds its own wheel, and installs alone: with what it declares, and nothing else."""

import importlib.metadata
import json
import os
import select
import signal
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[3]
PARTS = {
    "manta-proto": ROOT / "proto",
    "manta-common": ROOT / "libs/common",
    "manta-client": ROOT / "libs/client",
    "manta-gcs": ROOT / "services/gcs",
    "manta-raylet": ROOT / "services/raylet",
    "manta-object-manager": ROOT / "services/object-manager",
}
SCRIPTS = {
    "manta-gcs": ("manta-gcs", "--help"),
    "manta-raylet": ("manta-raylet", "--help"),
    "manta-object-manager": ("manta-object-manager", "--help"),
    "manta-client": ("ray", "--help"),
}
START_S = 30.0
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(("MANTA_", "RAY_", "PYTHON"))}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each part's wheel, built from its own folder alone."""
    folder = tmp_path_factory.mktemp("wheels")
    for name, source in PARTS.items():
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / name)]
        run = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=60, check=False)
        assert run.returncode == 0, run.stderr
    return {name: next((folder / name).glob("*.whl")) for name in PARTS}


def requirements(wheel: Path) -> list[Requirement]:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(metadata).decode().split("\n\n")[0].splitlines()
    return [Requirement(line.partition(":")[2]) for line in lines if line.startswith("Requires-Dist:")]


@dataclass(frozen=True)
class Environment:
    """A fresh environment with one part in it."""

    folder: Path

    def script(self, name: str) -> str:
        return str(self.folder / "bin" / name)

    def run(self, *command: str) -> str:
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=ENVIRONMENT)
        assert run.returncode == 0, run.stderr
        return run.stdout


def install(part: str, wheels: dict[str, Path], folder: Path) -> Environment:
    """Install a part's wheel with all that the wheels declare, and nothing else.

    Our own come from the wheels built here. Third parties were downloaded for this environment already: the fresh one
    gets links to exactly those that are declared, so that a forgotten declaration is an ImportError.
    """
    venv.create(folder, symlinks=True, with_pip=False)
    ours, theirs, waiting = set[str](), set[str](), [part]
    while waiting:
        name = waiting.pop()
        if name not in ours:
            ours.add(name)
            for requirement in requirements(wheels[name]):
                needed = canonicalize_name(requirement.name)
                (waiting.append if needed in PARTS else theirs.add)(needed)
    command = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--offline", "--no-index"]
    target = ["--no-deps", "--python", str(folder / "bin/python"), *(str(wheels[name]) for name in sorted(ours))]
    subprocess.run([*command, *target], check=True, timeout=60)
    link_third_parties(theirs, folder)
    return Environment(folder)


def link_third_parties(names: set[str], folder: Path) -> None:
    here = Path(sysconfig.get_path("purelib"))
    there = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    done, waiting = set[str](), sorted(names)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in done:
            continue
        done.add(name)
        distribution = importlib.metadata.distribution(name)
        for entry in {file.parts[0] for file in distribution.files or () if file.parts[0] != ".."}:
            if not (there / entry).exists():
                (there / entry).symlink_to(here / entry)
        for line in distribution.requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)


@pytest.mark.parametrize("part", PARTS)
def test_a_wheel_holds_its_own_package_and_nothing_else(part: str, wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels[part]) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    package = "ray/" if part == "manta-client" else f"{part.replace('-', '_')}/"
    assert [name for name in names if not name.startswith(package)] == []
    assert f"{package}__init__.py" in names
    assert f"{package}py.typed" in names


@pytest.mark.parametrize("part", PARTS)
def test_a_change_log_begins_with_the_version_of_the_wheel(part: str, wheels: dict[str, Path]) -> None:
    version = wheels[part].name.split("-")[1]
    headings = [line for line in (PARTS[part] / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    assert version in headings[0]


@pytest.mark.parametrize("part", SCRIPTS)
def test_a_part_installs_alone_and_explains_itself(part: str, wheels: dict[str, Path], tmp_path: Path) -> None:
    environment = install(part, wheels, tmp_path / "alone")
    script, *arguments = SCRIPTS[part]
    assert "Usage" in environment.run(environment.script(script), *arguments)
    others = {"manta-gcs": "manta_gcs", "manta-raylet": "manta_raylet", "manta-object-manager": "manta_object_manager"}
    absent = [module for name, module in others.items() if name != part]
    code = f"import importlib.util as u; print([m for m in {absent} if u.find_spec(m)])"
    assert environment.run(environment.script("python"), "-c", code).strip() == "[]"


def test_the_client_alone_is_importable(wheels: dict[str, Path], tmp_path: Path) -> None:
    environment = install("manta-client", wheels, tmp_path / "alone")
    code = (
        "import ray, ray._runtime.process.worker_main, ray._zygote.main, ray._supervisor.main; print(ray.__version__)"
    )
    assert "+manta." in environment.run(environment.script("python"), "-c", code)


@pytest.mark.parametrize("part", ["manta-gcs", "manta-object-manager"])
def test_a_service_installed_alone_serves(part: str, wheels: dict[str, Path], tmp_path: Path) -> None:
    environment = install(part, wheels, tmp_path / "alone")
    (tmp_path / "token").write_text("a-token-of-the-tests")
    flags = {
        "manta-gcs": ("--store", f"sqlite://{tmp_path}/gcs.db"),
        "manta-object-manager": ("--socket", f"{tmp_path}/om.sock", "--arena-bytes", "16777216"),
    }[part]
    reader, writer = os.pipe()
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [environment.script(part), "--token-file", f"{tmp_path}/token", "--ready-fd", str(writer), *flags],
            pass_fds=[writer],
            env=ENVIRONMENT,
            stdout=output,
            stderr=output,
        )
    os.close(writer)
    try:
        with os.fdopen(reader) as pipe:
            readable, _, _ = select.select([pipe], [], [], START_S)
            line = pipe.readline() if readable else ""
        assert line, log.read_text()
        assert "metrics" in json.loads(line)
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_S) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
