"""Quantises an ONNX model to int8 with onnxruntime's own tool: `quantize_static`, QDQ, per channel.

Reads one JSON object from the standard input:
  model     the ONNX file
  input     the name of its input
  pictures  float32 arrays in the form of the input, one behind the other, as .npy
  batch     how many go in at once
  out       the ONNX file to write
  folder    for temporary files
Writes one JSON object, the last line of the standard output.
"""

import json
import os
import sys


def said(**what):
    print(json.dumps(what))
    sys.exit(0)


job = json.load(sys.stdin)
try:
    import numpy
    import onnx
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
except ImportError as error:
    said(missing=str(error), python=sys.executable)


class Pictures(CalibrationDataReader):
    """Hands out the pictures batch by batch."""

    def __init__(self):
        self.pictures = numpy.load(job["pictures"], mmap_mode="r")
        self.at = 0

    def get_next(self):
        end = self.at + job["batch"]
        if end > len(self.pictures):
            return None
        batch = numpy.ascontiguousarray(self.pictures[self.at : end])
        self.at = end
        return {job["input"]: batch}


try:
    # Folds batch normalisation, and finds the shapes that the tool asks for.
    ready = os.path.join(job["folder"], "ready.onnx")
    quant_pre_process(job["model"], ready, skip_symbolic_shape=True)
    quantize_static(
        ready,
        job["out"],
        Pictures(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
except Exception as error:  # Whatever the tool says goes to the user.
    said(failed=f"{type(error).__name__}: {error}")
said(onnxruntime=onnxruntime.__version__, onnx=onnx.__version__)
