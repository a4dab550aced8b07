"""Runs an ONNX file in ONNX Runtime for the tests: checks it, saves what was asked for, and prints as JSON what became of
its graph. Needs onnx, onnxruntime and numpy; script/test makes an environment with these.

usage: onnx_check.py MODEL.onnx INPUT.f32 OUT_FOLDER [TENSOR ...]

INPUT.f32 has the numbers of a batch, little-endian. Number k of the tensors, the network's own output where none are
named, goes to OUT_FOLDER/k.bin as it lies in memory.
"""

import json
import os
import sys

import numpy
import onnx
import onnxruntime

path, values, folder, *tensors = sys.argv[1:]

model = onnx.load(path)
onnx.checker.check_model(model, full_check=True)

# Tensors in between become outputs; their types are inferred.
known = {value.name: value for value in onnx.shape_inference.infer_shapes(model).graph.value_info}
for name in tensors:
    if all(output.name != name for output in model.graph.output):
        model.graph.output.append(known[name])

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
options.log_severity_level = 3  # a warning that the saved graph is this machine's own
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
options.optimized_model_filepath = os.path.join(folder, "optimized.onnx")
session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

batch = session.get_inputs()[0]
x = numpy.fromfile(values, "<f4").reshape([-1, *batch.shape[1:]])
outputs = session.run(tensors or [model.graph.output[0].name], {batch.name: x})
for index, output in enumerate(outputs):
    output.tofile(os.path.join(folder, f"{index}.bin"))

optimized = onnx.load(options.optimized_model_filepath)
operators = [[node.op_type, node.name] for node in optimized.graph.node]
print(json.dumps({"onnxruntime": onnxruntime.__version__, "operators": operators}))
