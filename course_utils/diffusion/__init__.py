"""The patient: the baseline diffusion model, its data, samplers, training and checkpoints."""
