"""The scene as a MuJoCo model, its images as a real camera would take them, and their ground truth."""
