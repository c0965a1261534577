"""Course kit: make a CIFAR-10 diffusion model fast without making it worse."""

__version__ = "0.1.0"
