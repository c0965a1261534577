"""Two minutes before a long run: GPU, dtypes, communication, scratch. `python slurm/smoke_checks.py FOLDER RANKS`.

Each check prints one line; the exit status is 1 where one failed. Under torchrun (RANK is set) it is the all-reduce.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

__all__ = ["main"]

# A product of two random matrices of SIDE, against float64 on the CPU: rounding of K terms grows as its square root.
SIDE = 512
UNIT = {torch.float32: 2.0**-11, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}  # float32 may be TF32: 11 bits


def main(argv: list[str]) -> int:
    """Run every check, or one rank of the all-reduce."""
    if "RANK" in os.environ:
        return all_reduce()
    scratch, ranks = Path(argv[0]), int(argv[1])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    checks = [
        ("device", lambda: seen(device)),
        *((str(dtype).removeprefix("torch."), lambda dtype=dtype: product(device, dtype)) for dtype in UNIT),
        ("threads", threads),
        ("all-reduce", lambda: launched(ranks)),
        ("scratch", lambda: written(scratch)),
    ]
    failed = 0
    for name, check in checks:
        try:
            print(f"ok    {name:<11} {check()}", flush=True)
        except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as error:
            failed += 1
            print(f"FAIL  {name:<11} {error}", flush=True)
    return int(failed > 0)


def seen(device: torch.device) -> str:
    """What torch sees."""
    if device.type == "cpu":
        return f"CPU, torch {torch.__version__}: no CUDA device"
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return f"{len(names)} x {', '.join(sorted(set(names)))}, torch {torch.__version__}"


def product(device: torch.device, dtype: torch.dtype) -> str:
    """A matrix product against float64. Raises `ValueError` where it is further off than rounding explains."""
    left, right = (torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    exact = left.to(dtype).double() @ right.to(dtype).double()
    made = (left.to(device, dtype) @ right.to(device, dtype)).double().cpu()
    off = ((made - exact).abs().max() / SIDE**0.5).item()
    allowed = 8 * UNIT[dtype]
    if not off <= allowed:
        raise ValueError(f"a product is off by {off:.1e} of its size, wanted at most {allowed:.1e}: a faulty GPU")
    return f"a {SIDE} x {SIDE} product is right to {off:.1e}"


def threads() -> str:
    """Threads against cores. Raises `ValueError` where torch would start more than this process may use."""
    cores = len(os.sched_getaffinity(0))
    if torch.get_num_threads() > cores:
        raise ValueError(f"{torch.get_num_threads()} threads on {cores} cores: export OMP_NUM_THREADS={cores}")
    return f"{torch.get_num_threads()} threads on {cores} cores"


def launched(ranks: int) -> str:
    """All-reduce between `ranks` processes, by torchrun."""
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", __file__]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RuntimeError(f"torchrun ended with {done.returncode}: {last}")
    return done.stdout.strip().splitlines()[-1]


def all_reduce() -> int:
    """One rank: the sum of 1..N over all, a few megabytes large."""
    local = int(os.environ["LOCAL_RANK"])
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", local) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if on_gpu else "gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    tensor = torch.full((2**20,), rank + 1.0, device=device)
    dist.all_reduce(tensor)
    right = bool((tensor == size * (size + 1) / 2).all())
    if rank == 0:
        print(f"{dist.get_backend()}, {size} rank(s) agree on a sum of 4 MiB" if right else "a wrong sum", flush=True)
    dist.destroy_process_group()
    return 0 if right else 1


def written(folder: Path, megabytes: int = 64) -> str:
    """Write a file, with fsync, and read it back."""
    path = folder / f".smoke-{os.getpid()}"
    block = os.urandom(2**20)
    start = time.perf_counter()
    try:
        with path.open("wb") as file:
            for _ in range(megabytes):
                file.write(block)
            os.fsync(file.fileno())
        spent = time.perf_counter() - start
        if path.stat().st_size != megabytes * 2**20:
            raise ValueError(f"{folder} kept {path.stat().st_size} bytes of {megabytes} MiB")
    finally:
        path.unlink(missing_ok=True)
    return f"{megabytes / spent:,.0f} MiB/s into {folder}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
