"""Floor 4, atlases: the strongest activations of every feature map over many images."""
