"""Can the course run here? `python -m course_utils doctor` answers with one table.

Only the standard library is imported at the top, so that a machine without the kit installed gets its answer too.
"""

import argparse
import importlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

__all__ = ["CHECKS", "Row", "diagnose", "main", "table"]

ROOT = Path(__file__).resolve().parents[2]
OLDEST, NEWEST = (3, 11), (3, 13)
GB, GIB = 10**9, 2**30
INSTALL = "type `make lab` in the course's folder"


class Row(NamedTuple):
    """One line of the table: what was looked at, 'ok', 'warn' or 'fail', what was seen, and the fix ('' when ok)."""

    name: str
    state: str
    seen: str
    fix: str = ""


def diagnose() -> list[Row]:
    """Run every check; none downloads anything, and none needs more than the standard library to answer."""
    return [check() for check in CHECKS]


def table(rows: list[Row]) -> str:
    """The rows as aligned text, each fix on a line of its own below its row."""
    width = max(len(row.name) for row in rows)
    lines = []
    for row in rows:
        lines.append(f"{row.name:<{width}}  {row.state:<4}  {row.seen}")
        if row.fix:
            lines.append(f"{'':<{width}}        -> {row.fix}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Command line; 0 unless a row fails."""
    parser = argparse.ArgumentParser(prog="python -m course_utils doctor", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    arguments = parser.parse_args(argv)
    rows = diagnose()
    runs = all(row.state != "fail" for row in rows)
    if arguments.json:
        print(json.dumps({"ok": runs, "rows": [row._asdict() for row in rows]}, indent=2))
    else:
        verdict = (
            "The course can run here." if runs else "The course cannot run here until the rows marked fail are mended."
        )
        print(f"{table(rows)}\n\n{verdict}")
    return 0 if runs else 1


# ---- Python and compiler ---------------------------------------------------------------------------------------------


def check_python() -> Row:
    """The interpreter's version."""
    seen = f"{sys.version.split()[0]} ({sys.executable})"
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return Row("Python", "ok", seen)
    return Row("Python", "fail", seen, "install Python 3.11, 3.12 or 3.13, then `make lab PYTHON=/path/to/it`")


def check_compiler() -> Row:
    """A C++ compiler that builds a program, and one that includes Python.h, as torch.compile's do on a CPU."""
    name = "compiler"
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CXX", "g++"), "c++", "clang++"))), None)
    get_one = "`apt-get install g++`, `xcode-select --install` or `conda install gxx`; only torch.compile needs it"
    if compiler is None:
        return Row(name, "warn", "no C++ compiler found", get_one)
    if words := _compile(compiler, "int main() { return 0; }"):
        return Row(name, "warn", f"{compiler} does not build a program: {words}", get_one)
    if words := _compile(compiler, "#include <Python.h>\nint main() { return 0; }"):
        headers = "install your Python's headers (`apt-get install python3-dev`); only torch.compile needs them"
        return Row(name, "warn", f"{compiler} works, Python.h is missing: {words}", headers)
    return Row(name, "ok", f"{compiler} builds programs that include Python.h")


def _compile(compiler: str, program: str) -> str:
    """Compile and link a program; '' where that works, else the compiler's first line."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "program.cpp"
        source.write_text(program + "\n")
        command = [compiler, str(source), "-I", sysconfig.get_path("include"), "-o", str(source.with_suffix(""))]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if built.returncode == 0 else (built.stderr.splitlines() or ["no reason given"])[0]


# ---- torch, device, threads ------------------------------------------------------------------------------------------


def _torch() -> ModuleType | str:
    """The torch module, or why there is none."""
    try:
        return importlib.import_module("torch")
    except ModuleNotFoundError:
        return "not installed"
    except (ImportError, OSError) as error:  # a library it loads is missing or damaged
        return f"installed, but does not load: {error}".splitlines()[0]


def check_torch() -> Row:
    """Is torch there, and which CUDA was it built for."""
    torch = _torch()
    if isinstance(torch, str):
        return Row("torch", "fail", torch, INSTALL)
    built_for = torch.version.cuda or torch.version.hip
    return Row(
        "torch", "ok", f"{torch.__version__}, " + (f"built for CUDA {built_for}" if built_for else "built for CPU")
    )


def check_device() -> Row:
    """The accelerator in use, whether this torch has code for it, or why there is none."""
    torch = _torch()
    if isinstance(torch, str):
        return Row("device", "fail", "not known without torch", INSTALL)
    if torch.cuda.is_available():
        return _check_cuda(torch)
    if shutil.which("nvidia-smi"):
        seen = f"an NVIDIA driver is here, but torch {torch.__version__} cannot use it"
        return Row("device", "warn", seen, "update the driver, or use environment-v100.yml, whose CUDA is older")
    return Row("device", "ok", "CPU: the notebooks run at laptop scale")


def _check_cuda(torch: ModuleType) -> Row:  # pragma: no cover - CUDA
    properties = torch.cuda.get_device_properties(0)
    seen = f"{torch.cuda.device_count()} x {properties.name}, {properties.total_memory / GIB:.0f} GiB each"
    oldest = min(
        (int(arch[3:].rstrip("af")) for arch in torch.cuda.get_arch_list() if arch.startswith("sm_")), default=0
    )
    if properties.major * 10 + properties.minor < oldest:
        fix = "this torch has no code for a GPU of that age: use environment-v100.yml"
        return Row("device", "fail", f"{seen}, capability {properties.major}.{properties.minor}", fix)
    return Row("device", "ok", seen)


def check_threads() -> Row:
    """Cores granted against the threads torch would start."""
    torch = _torch()
    if isinstance(torch, str):
        return Row("threads", "warn", "not known without torch", INSTALL)
    from course_utils.measure.cores import cores_granted

    granted, threads = cores_granted(), torch.get_num_threads()
    seen = f"{granted} cores granted, {threads} torch threads"
    fix = f"export OMP_NUM_THREADS={granted}"
    if threads > granted:
        return Row("threads", "warn", f"{seen}: they will wait for each other", fix)
    if threads < granted // 2:
        return Row("threads", "warn", f"{seen}: cores stay idle", fix)
    return Row("threads", "ok", seen)


# ---- memory, disk, data, weights -------------------------------------------------------------------------------------


def check_memory() -> Row:
    """Memory of the machine, or less where the control group caps it."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    granted = min([total, *(int(cap) for cap in _control_group("memory.max") if cap != "max")])
    seen = f"{granted / GIB:.1f} GiB granted"
    if granted < 2 * GIB:
        return Row("memory", "fail", seen, "the course needs 2 GiB, and is at ease with 4")
    if granted < 4 * GIB:
        return Row("memory", "warn", seen, "close other programs; COURSE_SCALE=smoke uses the least")
    return Row("memory", "ok", seen)


def _control_group(file: str) -> list[str]:
    """What this process's control group and those above it say in one file (cgroup v2); empty where there is none."""
    own = Path("/proc/self/cgroup")
    paths = [line[3:] for line in own.read_text().splitlines() if line.startswith("0::")] if own.exists() else []
    folders = [Path("/sys/fs/cgroup", path.lstrip("/")) for path in paths]
    files = [above / file for folder in folders for above in (folder, *folder.parents)]
    return [limit.read_text().strip() for limit in files if limit.exists()]


def check_disk() -> Row:
    """Space left where the course lies."""
    free = shutil.disk_usage(ROOT).free
    seen = f"{free / GB:.1f} GB free in {ROOT}"
    if free < GB // 4:
        return Row("disk", "fail", seen, "make room: runs and downloads write here")
    if free < 2 * GB:
        return Row("disk", "warn", seen, "make room: CIFAR-10 and checkpoints of full runs take about 2 GB")
    return Row("disk", "ok", seen)


def check_data() -> Row:
    """The images that the notebooks would use; what is found is read whole, nothing is downloaded."""
    torch = _torch()
    if isinstance(torch, str):
        return Row("data", "warn", "not known without torch", INSTALL)
    from course_utils.diffusion.cifar_files import find_cifar10, read_cifar10
    from course_utils.diffusion.data import data_folders

    get_it = "python -m course_utils data --download"
    try:
        found = next((path for folder in data_folders() if (path := find_cifar10(folder))), None)
        if found is None:
            return Row("data", "warn", "no CIFAR-10: without a network, procedural images stand in and say so", get_it)
        counts = [len(read_cifar10(found, split)[1]) for split in ("train", "test")]
    except (ValueError, OSError) as error:
        return Row(
            "data", "fail", str(error), f"name a folder that holds CIFAR-10 in COURSE_DATA, or unset it and {get_it}"
        )
    return Row("data", "ok", f"CIFAR-10 in {found}: {counts[0]:,} + {counts[1]:,} images, verified")


def check_weights() -> Row:
    """The files that come with the kit, each read and held against its checksum."""
    from course_utils import shipped as kit

    try:
        paths = [kit.shipped(name) for name in kit.shipped_names()]
    except (ValueError, OSError) as error:
        return Row("weights", "fail", *_seen_and_fix(str(error)))
    if "base.safetensors" not in [path.name for path in paths]:
        seen = f"no trained model among {len(paths)} shipped files: pictures are the closed-form denoiser's, recalled"
        return Row("weights", "warn", seen, "python -m course_utils train makes your own")
    size = sum(path.stat().st_size for path in paths)
    return Row("weights", "ok", f"{len(paths)} files in {kit.SHIPPED}, {size / 1e6:.0f} MB, verified")


def _seen_and_fix(sentence: str) -> tuple[str, str]:
    """What a sentence says was seen, and what it says to do."""
    seen, _, fix = sentence.rstrip(".").partition("bring it back with ")
    return seen.rstrip(" :;"), fix or "fetch the repository again"


# ---- Lab and cluster -------------------------------------------------------------------------------------------------


def check_lab() -> Row:
    """JupyterLab, and a kernel `python3` that runs this interpreter."""
    name = "Lab and kernel"
    if find_spec("jupyterlab") is None or find_spec("ipykernel") is None:
        return Row(name, "fail", "JupyterLab or its Python kernel is not installed", INSTALL)
    from jupyter_client.kernelspec import KernelSpecManager

    seen = f"JupyterLab {metadata.version('jupyterlab')}"
    kernel = KernelSpecManager().get_kernel_spec("python3").argv[0]
    if kernel in ("python", "python3") or Path(kernel).absolute() == Path(sys.executable).absolute():
        return Row(name, "ok", f"{seen}, its kernel python3 is this Python")
    fix = "python -m ipykernel install --sys-prefix --name python3, and start Lab with `make lab`"
    return Row(name, "warn", f"{seen}, but its kernel python3 runs {kernel}", fix)


def check_slurm() -> Row:
    """Either is fine: the course runs with and without a cluster."""
    found = shutil.which("sbatch")
    return Row("Slurm", "ok", found or "not here: jobs are sent from a cluster's login node")


CHECKS: list[Callable[[], Row]] = [
    check_python,
    check_compiler,
    check_torch,
    check_device,
    check_threads,
    check_memory,
    check_disk,
    check_data,
    check_weights,
    check_lab,
    check_slurm,
]
