"""Training of the networks that ship. Torch lives here; nothing of it runs on the vehicle."""
