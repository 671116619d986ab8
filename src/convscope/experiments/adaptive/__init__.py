"""Features that nobody labelled: the adaptive deconvolutional network of 2011, and its worth."""
