"""Makes a network certifiable: a stem that keeps only superficial important neurons, and training with occlusion."""
