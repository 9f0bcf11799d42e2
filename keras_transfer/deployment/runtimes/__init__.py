"""What runs an exported network: one small file a runtime.

Each has one function `network(path)`, which returns a function from float32 images of
shape `(batch, size, size, 3)` to a dict of outputs. The text of that function goes into
the client of an export, so it stands for itself.
"""
