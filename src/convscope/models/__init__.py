"""What a model is: architectures, weights, and the forms in which people bring them."""
