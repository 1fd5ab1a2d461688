"""An interpreter of quantized ONNX graphs in numpy: integers wherever onnxruntime has integers, and the same ones.

``arithmetic`` holds the formulas, ``accumulators`` the exact sums, ``groups`` what lies between DequantizeLinear and
QuantizeLinear and runs as integers, ``operators`` everything else, ``model`` the graph. docs/integer_semantics.md
describes what is exact. Nothing here imports torch or onnxruntime.
"""

from l4edge_compression.quantization.integer.model import IntegerModel

__all__ = ["IntegerModel"]
