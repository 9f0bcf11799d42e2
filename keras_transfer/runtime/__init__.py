"""What all else stands on: profile, devices, whole files, Keras's private names."""
