"""Floor 3: one question each. Projection, occlusion."""
