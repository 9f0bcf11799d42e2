"""What a run is set to: profile, device, folders, and files that are whole or absent."""
