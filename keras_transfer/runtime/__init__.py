"""What a run is set to: profile, device, folders, files that are whole or absent."""
