"""What ONNX's operators are in layers, a file for each family; all of them are read for rules."""
