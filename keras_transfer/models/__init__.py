"""What any Keras network is made of, and how it computes and compiles."""
