"""Training of the networks that ship. Torch lives here; nothing of it runs on the vehicle."""

from l4edge_perception.training.processor import without_matrix_tiles

without_matrix_tiles()
