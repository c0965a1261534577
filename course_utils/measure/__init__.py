"""The instruments: turn a callable, tensors or images into a number with a unit."""
