"""Peer: ONNX Runtime on an ONNX file, one image, one thread. Prints a JSON line.

usage: ort_infer.py MODEL.onnx [--images N]
"""

import argparse
import json
import time

import numpy
import onnxruntime

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("model")
parser.add_argument("--images", type=int, default=10_000, help="how many are timed, one by one")
arguments = parser.parse_args()

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(arguments.model, options, providers=["CPUExecutionProvider"])
batch = session.get_inputs()[0]
x = numpy.random.default_rng(1).standard_normal([1, *batch.shape[1:]], dtype="f4")

microseconds = []
warm_up = 1000
for index in range(warm_up + arguments.images):
    start = time.perf_counter()
    session.run(None, {batch.name: x})
    if index >= warm_up:
        microseconds.append((time.perf_counter() - start) * 1e6)

print(json.dumps({
    "model": arguments.model,
    "onnxruntime": onnxruntime.__version__,
    "images": arguments.images,
    "median_us": round(float(numpy.median(microseconds)), 2),
    "p99_us": round(float(numpy.percentile(microseconds, 99)), 2),
}))
