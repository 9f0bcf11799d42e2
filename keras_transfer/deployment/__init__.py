"""A classifier for use elsewhere: exported, checked, and loaded without Keras."""
