"""The ward, where patient and instruments meet: recorded training runs, sampling runs, the benchmark."""
