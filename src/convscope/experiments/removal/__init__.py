"""What each class loses when a feature map is taken away."""
