"""Where in the photo a classifier looked."""
