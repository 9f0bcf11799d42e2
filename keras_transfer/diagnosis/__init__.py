"""The doctor: it looks for the silent failures of transfer learning."""
