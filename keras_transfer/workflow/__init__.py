"""The whole way from a folder of photos to a model that can be trusted."""
