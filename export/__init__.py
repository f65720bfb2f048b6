"""torch to ONNX, TFLite and Core ML, and the bundle that holds them."""
