"""Reads an int8 model of simqat and runs it, by docs/int8-format.md and nothing else: a second opinion for the tests, and a
pattern for readers in other languages. Needs numpy. It is slow, and meant to be read.

usage: int8_reader.py MODEL.int8.safetensors IMAGES.f32 LOGITS.f32

IMAGES.f32 has the values of images one behind the other, [N, C, H, W], as f32 and little-endian; LOGITS.f32 gets the logits.
"""

import hashlib
import json
import math
import sys

import numpy as np


def read(path):
    """The graph, with its tensors in the layers."""
    data = open(path, "rb").read()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    told = header.pop("__metadata__")
    if told["format"] != "simqat-int8-1":
        raise ValueError(f"{path}: its format is {told['format']}")
    if hashlib.sha256(data.replace(told["sha256"].encode(), b"0" * 64, 1)).hexdigest() != told["sha256"]:
        raise ValueError(f"{path}: its checksum does not fit its content")
    tensors = {}
    for name, entry in header.items():
        kind = {"I8": "<i1", "U8": "<u1", "I32": "<i4", "U32": "<u4", "F32": "<f4"}[entry["dtype"]]
        first, end = entry["data_offsets"]
        tensors[name] = np.frombuffer(data[start + first : start + end], kind).reshape(entry["shape"])
    graph = json.loads(told["model"])
    for layer in graph["layers"]:
        own = ["weight", "scale", "bias", "row", "table"]
        layer["tensors"] = {kind: tensors.get(f"{layer['name']}.{kind}") for kind in own}
    return graph


def unpacked(layer):
    """Weights as whole numbers [O, I]."""
    weight = layer["tensors"]["weight"]
    if weight.dtype == np.int8:
        return weight.reshape(len(weight), -1).astype(np.int64)
    width = 2 if layer["bits"] == 2 else 4
    codes = np.stack([weight >> shift & (1 << width) - 1 for shift in range(0, 8, width)], -1).astype(np.int64)
    codes = codes.reshape(len(weight), -1)[:, : layer["tensors"]["row"][0]]
    return np.where(codes >> width - 1, codes - (1 << width), codes)


def multipliers(*factors):
    """Mantissas of f64s, and their one shift: that which gives the largest 31 bits."""
    nearest = lambda factor, shift: math.floor(math.ldexp(factor, shift) + 0.5)
    shift = 31 - math.frexp(max(factors))[1]
    if nearest(max(factors), shift) == 1 << 31:
        shift -= 1
    return [nearest(factor, shift) if shift <= 62 else 0 for factor in factors], min(shift, 62)


def rounded(products, shift):
    """products / 2^shift, halves away from zero."""
    return np.sign(products) * (np.abs(products) + (1 << shift - 1) >> shift)


def windows(x, layer, padding, fill):
    """[C, H, W], with `fill` above, left, below and right, to [C, kh * kw, oh, ow]."""
    (kh, kw), (sy, sx), (dy, dx) = layer["kernel"], layer["stride"], layer.get("dilation", [1, 1])
    top, left, bottom, right = padding
    x = np.pad(x, ((0, 0), (top, bottom), (left, right)), constant_values=fill)
    oh, ow = layer["shape"][1:]
    places = [(i * dy, j * dx) for i in range(kh) for j in range(kw)]
    return np.stack([x[:, i::sy, j::sx][:, :oh, :ow] for i, j in places], 1)


def run(layer, inputs, before):
    """Codes of a layer, from codes of the layers `before` it."""
    op, scale, zero = layer["op"], layer["scale"], layer["zero_point"]
    low, high = layer["low"], layer["high"]
    if layer.get("activation") in ("relu", "relu6"):
        low = max(low, zero)
    if layer.get("activation") == "relu6":
        high = min(high, code(np.float32(6), layer))
    x, zx, sx = inputs[0], before[0]["zero_point"], before[0]["scale"]
    if op == "flatten":
        return x.reshape(-1)
    if op == "table":
        return layer["tensors"]["table"][x + 128].astype(np.int64)
    if op == "add":
        mantissas, shift = multipliers(*(source["scale"] / scale for source in before))
        products = sum((q - source["zero_point"]) * m for q, source, m in zip(inputs, before, mantissas))
        return np.clip(zero + rounded(products, shift), low, high)
    if op in ("max_pool2d", "avg_pool2d"):
        fill = -128 if op == "max_pool2d" else zx
        seen = windows(x, layer, layer["padding"] * 2, fill)
        if op == "max_pool2d":
            return seen.max(1)
        sums = (seen - zx).sum(1)
        factors = [sx / (scale * math.prod(layer["kernel"]))] * len(sums)
    else:
        weight, bias = unpacked(layer), layer["tensors"]["bias"].astype(np.int64)
        factors = [sx * float(own) / scale for own in layer["tensors"]["scale"]]
        if op == "dense":
            sums = bias + weight @ (x - zx)
        else:
            seen = windows(x, layer, layer["padding"], zx) - zx
            seen = seen.reshape(layer["groups"], -1, *layer["shape"][1:])
            weight = weight.reshape(layer["groups"], -1, seen.shape[1])
            sums = np.einsum("goi,gihw->gohw", weight, seen).reshape(layer["shape"]) + bias[:, None, None]
    channels = []
    for channel, factor in zip(sums, factors):
        [mantissa], shift = multipliers(factor)
        channels.append(rounded(channel * mantissa, shift))
    return np.clip(zero + np.stack(channels), low, high)


def code(values, layer):
    """Codes of values, in f32."""
    scale, zero = np.float32(layer["scale"]), layer["zero_point"]
    low, high = (np.float32(layer[end] - zero) * scale for end in ("low", "high"))
    steps = np.floor((np.clip(values, low, high) - low) / scale + np.float32(0.5))
    return layer["low"] + steps.astype(np.int64)


graph = read(sys.argv[1])
layers = graph["layers"]
images = np.fromfile(sys.argv[2], "<f4").reshape([-1, *layers[0]["shape"]])
result = layers[graph["output"]]
with open(sys.argv[3], "wb") as out:
    for image in images:
        codes = [code(image, layers[0])]
        for layer in layers[1:]:
            codes.append(run(layer, [codes[i] for i in layer["inputs"]], [layers[i] for i in layer["inputs"]]))
        logits = np.float32(result["scale"]) * (codes[graph["output"]] - result["zero_point"]).astype("<f4")
        out.write(logits.tobytes())
