#!/usr/bin/env python3
"""Holds safetensors files against each other, to the bit.

    script/same_tensors.py A B...      exit code 0 where each file has the tensors of A, else 1 with the first difference

The text beside the tensors (who trained it, and how) may differ. Needs nothing but Python's own library.
"""

import json
import sys


def tensors(path):
    """Every tensor as (type, shape, bytes), by name."""
    with open(path, "rb") as file:
        content = file.read()
    begin = 8 + int.from_bytes(content[:8], "little")
    found = {}
    for name, entry in json.loads(content[8:begin]).items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            found[name] = (entry["dtype"], entry["shape"], content[begin + first : begin + last])
    return found


def difference(a, b):
    """What is the first difference in words, or None."""
    if a.keys() != b.keys():
        return "only one of them has " + ", ".join(sorted(a.keys() ^ b.keys()))
    for name in sorted(a):
        (type_a, shape_a, bytes_a), (type_b, shape_b, bytes_b) = a[name], b[name]
        if (type_a, shape_a) != (type_b, shape_b):
            return f"{name} is {type_a} {shape_a} in one and {type_b} {shape_b} in the other"
        if bytes_a != bytes_b:
            at = next(i for i, (x, y) in enumerate(zip(bytes_a, bytes_b)) if x != y)
            return f"the bytes of {name} differ, first at {at} of {len(bytes_a)}"
    return None


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    first, others = sys.argv[1], sys.argv[2:]
    expected = tensors(first)
    if not expected:
        sys.exit(f"{first}: there is no tensor in it")
    for other in others:
        if told := difference(expected, tensors(other)):
            sys.exit(f"{first} and {other}: {told}")
    size = sum(len(content) for _, _, content in expected.values())
    print(f"{len(expected)} tensors with {size} bytes are the same in {len(others) + 1} files")


main()
