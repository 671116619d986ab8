"""Floor 7: from stored numbers to pictures and pages."""
