"""Export: the candidate's weights -> ONNX files in FP32 and INT8, compared with the weights."""
