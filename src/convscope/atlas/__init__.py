"""Floor 4: many images. The strongest activations of every feature map over a data set."""
