"""How good a classifier is, and how sure that number is."""
