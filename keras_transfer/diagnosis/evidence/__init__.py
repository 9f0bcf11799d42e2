"""What the checks look at: pipelines, photos, pixels, weights, a training step."""
