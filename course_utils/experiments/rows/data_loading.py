"""Loading one pass over the images: the library's PNG data set and loader, against uint8 images kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from torch.utils.data import DataLoader

from course_utils.diffusion import Batches, ImageSet
from course_utils.experiments.rows import Entries, Row, Setting
from course_utils.measure import Variant, cores_granted

__all__ = ["ROWS", "write_pngs"]

ORDER = 10


def write_pngs(images: ImageSet, folder: Path, n: int) -> Path:
    """Write the first `n` images as PNG files, the form that the library's data set reads; -> the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images.images[:n]):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{index:05d}.png")
    return folder


def library_pass(folder: Path, batch_size: int) -> Callable[[], int]:
    """One pass with the library's `Dataset`, loaded as its `Trainer` does: a worker a core, started anew each pass.

    Cores are those granted to this process; the `Trainer` takes all of the machine, also those of other jobs.
    """
    from denoising_diffusion_pytorch.denoising_diffusion_pytorch import Dataset

    dataset = Dataset(folder, (32, 32), augment_horizontal_flip=True, convert_image_to="RGB")
    workers = cores_granted()
    loader = DataLoader(dataset, batch_size=batch_size, shuffle=True, num_workers=workers, pin_memory=True)
    return lambda: sum(len(batch) for batch in loader)


def memory_pass(setting: Setting, n: int) -> Callable[[], int]:
    """One pass over as many images with the kit's `Batches`, on the device where they are used."""
    batches = Batches(setting.images.images[:n], setting.scale.batch_size, device=setting.device)
    steps = n // setting.scale.batch_size
    return lambda: sum(len(batches(step)) for step in range(steps))


def ROWS(setting: Setting) -> Iterator[Row]:
    """The row of the data loaders."""
    n = min(10_000, len(setting.images)) // setting.scale.batch_size * setting.scale.batch_size

    @contextmanager
    def prepare() -> Iterator[Entries]:
        folder = write_pngs(setting.images, setting.scratch / "png", n)
        yield {
            "library: PNG files, worker processes": Variant("library", library_pass(folder, setting.scale.batch_size)),
            "uint8 in memory": Variant("memory", memory_pass(setting, n)),
        }

    step = f"one pass over {n:,} images in batches of {setting.scale.batch_size}, with random mirroring"
    yield Row("data loading", step, n, prepare, rounds=7, config={"batch": setting.scale.batch_size})
