"""Features of images for others to use: read off layers, written to one file, shown as a map."""
