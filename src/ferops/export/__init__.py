"""Export: the candidate's weights -> ONNX and INT8 files that the service runs, proved against the weights."""
