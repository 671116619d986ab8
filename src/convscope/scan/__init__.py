"""One pass over many images: an engine, and the observers that look at what a network answers."""
