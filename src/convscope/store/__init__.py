"""What survives a kill: files that are whole or absent, locks, fingerprints, results by name."""
