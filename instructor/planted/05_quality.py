# %% [markdown]
# # Planted answers of `05_quality`
#
# Each cell is what a student could have in the cell of that answer, and `points` is what it must get. `README.md` tells how they are used, `../GUIDE.md` what to say to a student.

# %% answer="05.frechet" case="distance-not-squared" points=0
def frechet(mean_a, cov_a, mean_b, cov_b):
    """Squared Fréchet distance of two Gaussians: means (D,), covariances (D, D), float64 -> a number."""
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    overlap = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    return (mean_a - mean_b).norm() + cov_a.trace() + cov_b.trace() - 2 * overlap


# %% answer="05.frechet" case="two-forgotten" points=0
def frechet(mean_a, cov_a, mean_b, cov_b):
    """Squared Fréchet distance of two Gaussians: means (D,), covariances (D, D), float64 -> a number."""
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    overlap = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    return (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - overlap


# %% answer="05.frechet" case="product-of-roots" points=0
def frechet(mean_a, cov_a, mean_b, cov_b):
    """Squared Fréchet distance of two Gaussians: means (D,), covariances (D, D), float64 -> a number."""
    roots = []
    for cov in (cov_a, cov_b):
        values, vectors = torch.linalg.eigh(cov)
        roots.append(vectors * values.clamp(min=0).sqrt() @ vectors.T)
    return (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * (roots[0] @ roots[1]).trace()


# %% answer="05.frechet" case="root-of-each-number" points=0
def frechet(mean_a, cov_a, mean_b, cov_b):
    """Squared Fréchet distance of two Gaussians: means (D,), covariances (D, D), float64 -> a number."""
    overlap = (cov_a @ cov_b).clamp(min=0).sqrt().trace()
    return (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * overlap


# %% answer="05.frechet" case="rows-for-columns" points=0
def frechet(mean_a, cov_a, mean_b, cov_b):
    """Squared Fréchet distance of two Gaussians: means (D,), covariances (D, D), float64 -> a number."""
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors.T * values.clamp(min=0).sqrt() @ vectors
    overlap = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    return (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * overlap


# %% answer="05.frechet" case="eigenvalues-of-the-product" points=2
def frechet(mean_a, cov_a, mean_b, cov_b):
    """Squared Fréchet distance of two Gaussians: means (D,), covariances (D, D), float64 -> a number."""
    squared = torch.linalg.eigvals(cov_a @ cov_b).real.clamp(min=0)
    shift = mean_a - mean_b
    return float(shift @ shift + torch.trace(cov_a + cov_b) - 2 * torch.sum(torch.sqrt(squared)))


# %% answer="05.frechet" case="other-way-round" points=2
def frechet(mean_a, cov_a, mean_b, cov_b):
    """Squared Fréchet distance of two Gaussians: means (D,), covariances (D, D), float64 -> a number."""
    values, vectors = torch.linalg.eigh(cov_b)
    root = vectors @ torch.diag(torch.sqrt(torch.relu(values))) @ vectors.mT
    inner = root @ cov_a @ root
    outer = torch.linalg.svdvals((inner + inner.mT) / 2).sqrt().sum()
    return ((mean_b - mean_a) ** 2).sum() + torch.diagonal(cov_a + cov_b).sum() - 2 * outer


# %% answer="05.decide" case="one-for-the-tolerance" points=0
def decide(low, high, tolerance):
    """From an interval of variant / baseline: "preserved", "worse" or "inconclusive"."""
    if high <= 1:
        return "preserved"
    return "worse" if low > 1 else "inconclusive"


# %% answer="05.decide" case="middle-of-the-interval" points=0
def decide(low, high, tolerance):
    """From an interval of variant / baseline: "preserved", "worse" or "inconclusive"."""
    return "preserved" if (low + high) / 2 <= tolerance else "worse"


# %% answer="05.decide" case="below-not-at" points=0
def decide(low, high, tolerance):
    """From an interval of variant / baseline: "preserved", "worse" or "inconclusive"."""
    if high < tolerance:
        return "preserved"
    return "worse" if low > tolerance else "inconclusive"


# %% answer="05.decide" case="low-end-decides" points=0
def decide(low, high, tolerance):
    """From an interval of variant / baseline: "preserved", "worse" or "inconclusive"."""
    if low <= tolerance:
        return "preserved"
    return "worse" if high > tolerance else "inconclusive"


# %% answer="05.decide" case="elif-chain" points=1
def decide(low, high, tolerance):
    """From an interval of variant / baseline: "preserved", "worse" or "inconclusive"."""
    if low > tolerance:
        return "worse"
    elif high > tolerance:
        return "inconclusive"
    else:
        return "preserved"


# %% answer="05.decide" case="looked-up" points=1
def decide(low, high, tolerance):
    """From an interval of variant / baseline: "preserved", "worse" or "inconclusive"."""
    return ["preserved", "inconclusive", "worse"][(high > tolerance) + (low > tolerance)]
