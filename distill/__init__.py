"""Labels, data and training."""
