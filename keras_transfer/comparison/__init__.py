"""Recipes trained with several seeds, each run in its own process, and compared."""
