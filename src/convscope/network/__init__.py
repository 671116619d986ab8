"""Floor 2: what the model is. Exported graph, units, traces, model specs."""
