"""What a frozen network makes of photos, computed once and kept on disk."""
