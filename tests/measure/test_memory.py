"""Peak memory against hand counts of what is alive at the worst moment."""

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from course_utils.measure import peak_memory

KB = 1000


def floats(count):
    return torch.empty(count // 4, dtype=torch.float32)


def test_what_is_freed_in_between_does_not_count_twice():
    def work():
        a = floats(400 * KB)
        b = floats(200 * KB)
        del a  # peak so far: 600
        c = floats(300 * KB)  # 500
        return b, c

    memory = peak_memory(work)
    assert memory.peak_bytes == 600 * KB
    assert memory.held_bytes == 500 * KB


def test_inputs_and_weights_do_not_count():
    x = torch.ones(250, 1000)
    assert peak_memory(lambda x: x + x, x).peak_bytes == x.nbytes
    assert peak_memory(lambda x: x.view(-1), x).peak_bytes == 0


def test_freeing_what_was_there_before_is_not_credited():
    box = [floats(400 * KB)]

    def work():
        box.clear()
        return floats(100 * KB)

    memory = peak_memory(work)
    assert memory.peak_bytes == memory.held_bytes == 100 * KB


def test_the_allocator_knowing_the_block_changes_nothing():
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True):
        box = [floats(400 * KB)]

    def work():
        box.clear()
        return floats(100 * KB)

    assert peak_memory(work).peak_bytes == 100 * KB


def test_temporaries_inside_an_operator_count():
    x = torch.randn(1000, 100)
    assert peak_memory(lambda: torch.logsumexp(x, dim=1)).peak_bytes > 1000 * 4 * 100  # exp(x - max) in between


def test_backward_keeps_the_activations():
    first, second = nn.Linear(64, 128), nn.Linear(128, 1, bias=False)
    x = torch.randn(256, 64)
    hidden = 256 * 128 * 4

    def forward():
        with torch.no_grad():
            return second(torch.relu(first(x)))

    def forward_with_graph():
        return second(torch.relu(first(x)))

    assert peak_memory(forward).held_bytes == 256 * 4
    assert peak_memory(forward_with_graph).held_bytes == 256 * 4 + hidden  # relu saves its output
    assert peak_memory(forward).peak_bytes == 2 * hidden


def test_memory_prints_itself():
    memory = peak_memory(lambda: torch.zeros(256, 1024))
    assert repr(memory) == "Memory(peak 1.00 MiB, held 1.00 MiB, cpu)"
    assert "1.00 MiB" in str(memory)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_peak_equals_the_hand_count():  # pragma: no cover - CUDA
    x = torch.ones(2**20, device="cuda")
    memory = peak_memory(lambda x: (x + 1) * 2, x)
    assert memory.peak_bytes == 2 * x.nbytes
    assert memory.held_bytes == x.nbytes


class TwoGpus:
    """As much of torch.cuda as the instrument uses: two GPUs of which the second is worked on."""

    def __init__(self):
        self.allocated, self.peak, self.initialised = [100, 500], [900, 900], True

    def is_initialized(self):
        return self.initialised

    def device_count(self):
        return 2

    def synchronize(self, device):
        pass

    def reset_peak_memory_stats(self, device):
        self.peak[device.index] = self.allocated[device.index]

    def memory_allocated(self, device):
        return self.allocated[device.index]

    def max_memory_allocated(self, device):
        return self.peak[device.index]

    def take(self, peak, held):
        self.peak[1] = max(self.peak[1], self.allocated[1] + peak)
        self.allocated[1] += held


def test_a_closure_that_works_on_a_gpu_is_measured_there(monkeypatch):
    gpus = TwoGpus()
    monkeypatch.setattr("course_utils.measure.memory.torch.cuda", gpus)
    memory = peak_memory(lambda: (gpus.take(300, 200), floats(KB)))
    assert (memory.peak_bytes, memory.held_bytes, memory.device) == (300, 200, "cuda:1")
    memory = peak_memory(lambda: floats(KB))  # nothing taken on a GPU
    assert (memory.peak_bytes, memory.device) == (KB, "cpu")
