"""The conda environments hold the kit's direct dependencies at the versions of constraints.txt."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
CUDA_VARIANT = {"environment.yml": "", "environment-v100.yml": "+cu126"}


def linux(python):
    """The markers of pip on a cluster's node."""
    return {"python_version": python, "python_full_version": f"{python}.99", "sys_platform": "linux"} | {
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "os_name": "posix",
    }


def constraints(python):
    """name -> exact version, for one Python on Linux."""
    lines = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines()]
    holds = [line for line in lines if line.marker is None or line.marker.evaluate(linux(python))]
    return {canonicalize_name(line.name): str(line.specifier).removeprefix("==") for line in holds}


def parts(name):
    """The Python of an environment file, its pins (name -> version), and its other pip lines."""
    loaded = yaml.safe_load((ROOT / name).read_text())
    python = next(line.removeprefix("python=") for line in loaded["dependencies"] if str(line).startswith("python="))
    lines = next(line["pip"] for line in loaded["dependencies"] if isinstance(line, dict))
    pins = dict(line.split("==") for line in lines if "==" in line)
    return python, pins, [line for line in lines if "==" not in line]


def direct_dependencies():
    loaded = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {canonicalize_name(Requirement(line).name): Requirement(line) for line in loaded["project"]["dependencies"]}


@pytest.mark.parametrize("name", CUDA_VARIANT)
def test_an_environment_holds_every_direct_dependency_at_its_constraint(name):
    python, pins, _ = parts(name)
    wanted = {dependency: constraints(python)[dependency] for dependency in direct_dependencies()}
    for dependency in ("torch", "torchvision"):
        wanted[dependency] += CUDA_VARIANT[name]
    assert pins == wanted


@pytest.mark.parametrize("name", CUDA_VARIANT)
def test_an_environment_installs_this_folder_and_names_the_index_it_needs(name):
    _, _, others = parts(name)
    variant = CUDA_VARIANT[name].removeprefix("+")
    index = [f"--extra-index-url https://download.pytorch.org/whl/{variant}"] if variant else []
    assert others == [*index, "-e ."]


def test_the_constraints_are_exact_and_within_the_ranges_of_pyproject():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.match(r"^[a-z0-9-]+==[^=*]+?( ; .+)?$", line), line
    for python in ("3.11", "3.12", "3.13"):
        exact = constraints(python)
        for name, requirement in direct_dependencies().items():
            assert requirement.specifier.contains(exact[name]), (python, name)
