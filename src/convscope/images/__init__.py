"""What the network looks at: image files, preprocessing, data sets, rendered scenes."""
