"""Makes networks smaller: quantization to integers that hardware and onnxruntime compute exactly alike.

Importing this package loads no torch; ``l4edge_compression.api`` does.
"""
