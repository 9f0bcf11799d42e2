"""Train the backbone too: which blocks, with which learning rates, and when."""
