"""Networks of this project in torch, and their way into model packages. Not imported on the vehicle."""
