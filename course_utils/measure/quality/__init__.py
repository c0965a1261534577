"""Image quality as numbers: features of images, distances between them, and gates that say what could be lost."""

from course_utils.measure.quality.denoisers import same_denoiser
from course_utils.measure.quality.distances import (
    Distances,
    distances,
    fewest_images,
    frechet_distance,
    kernel_distance,
    name_of,
)
from course_utils.measure.quality.distributions import kernel_difference, same_distribution
from course_utils.measure.quality.evidence import Evidence
from course_utils.measure.quality.extractors import best_extractor, cifar_cnn, inception
from course_utils.measure.quality.features import (
    Extractor,
    Features,
    Statistics,
    extract,
    extractor_from,
    refuse_unlike,
)
from course_utils.measure.quality.fidelity import Fidelity, fid_kid
from course_utils.measure.quality.functions import same_function
from course_utils.measure.quality.intervals import Estimate, interleaved, jackknife
from course_utils.measure.quality.pictures import PictureDistance, same_pictures
from course_utils.measure.quality.power import Power, power_of
from course_utils.measure.quality.references import (
    Reference,
    load_reference,
    reference,
    reference_from,
    save_references,
)

__all__ = [
    "Distances",
    "Estimate",
    "Evidence",
    "Extractor",
    "Features",
    "Fidelity",
    "PictureDistance",
    "Power",
    "Reference",
    "Statistics",
    "best_extractor",
    "cifar_cnn",
    "distances",
    "extract",
    "extractor_from",
    "fewest_images",
    "fid_kid",
    "frechet_distance",
    "inception",
    "interleaved",
    "jackknife",
    "kernel_difference",
    "kernel_distance",
    "load_reference",
    "name_of",
    "power_of",
    "reference",
    "reference_from",
    "refuse_unlike",
    "same_denoiser",
    "same_distribution",
    "same_function",
    "same_pictures",
    "save_references",
]
