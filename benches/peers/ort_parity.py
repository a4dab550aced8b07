"""ONNX Runtime on the images that `simqat parity --save` wrote: accuracy, and predictions that differ. Prints a JSON line.

usage: ort_parity.py MODEL.onnx COMPARED.safetensors
"""

import json
import struct
import sys

import numpy
import onnxruntime

path, compared = sys.argv[1:]


def tensors(path):
    """The tensors of a safetensors file, by name."""
    with open(path, "rb") as file:
        data = file.read()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    types = {"F32": "<f4", "U32": "<u4"}
    found = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = (8 + length + offset for offset in entry["data_offsets"])
            found[name] = numpy.frombuffer(data[start:end], types[entry["dtype"]]).reshape(entry["shape"])
    return found


inputs = tensors(compared)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
images = inputs["images"]
batch = 100
logits = [session.run(None, {name: images[at : at + batch]})[0] for at in range(0, len(images), batch)]
# argmax takes the first of equals, as simqat does.
predictions = numpy.concatenate(logits).argmax(axis=1)
print(json.dumps({
    "onnxruntime": onnxruntime.__version__,
    "images": len(images),
    "correct": int((predictions == inputs["labels"]).sum()),
    "top1": float((predictions == inputs["labels"]).mean()),
    "differ_from_int8": int((predictions != inputs["int8"]).sum()),
    "differ_from_simulated": int((predictions != inputs["simulated"]).sum()),
}))
