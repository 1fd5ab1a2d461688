"""Quantization: number formats, scales, schemes of rows, scores, and the modules that train and export them."""
