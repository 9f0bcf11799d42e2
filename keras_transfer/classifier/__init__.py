"""A head on a backbone: trained on features, saved, loaded, asked about a photo."""
