"""Fig. 4: what feature maps answer to while they are learned."""
