"""One network, and questions about images that are answered while a person waits."""
