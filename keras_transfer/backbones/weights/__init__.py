"""ImageNet weights from a folder, from Keras, or out of a package of a registry."""
