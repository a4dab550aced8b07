"""What PyTorch needs for a training step of a ResNet: forward, backward and update, in f32.

    python torch_resnet.py [--model resnet50] [--image 224] [--batch 32] [--qat] [--tf32] [--device cpu]

Prints one JSON object: median, min and max of the repetitions in ms per step, and images per second by the median.
--qat prepares the network for quantization-aware training as PyTorch does it (FX graph mode: BatchNorm folded, weights by
channel, activations with a moving average). With --tf32 the matrix units of NVIDIA cards may round their inputs to 10 bits,
which we never do. The images are random: the time does not depend on them.
"""

import argparse
import json
import statistics
import time
import warnings

import torch
import torchvision
from torch import nn
from torch.ao import quantization as tq
from torch.ao.quantization import quantize_fx


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="resnet50", help="a name of torchvision.models")
    parser.add_argument("--image", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=5)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--qat", action="store_true")
    parser.add_argument("--tf32", action="store_true")
    options = parser.parse_args()

    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = options.tf32
    torch.backends.cudnn.allow_tf32 = options.tf32
    torch.backends.cudnn.benchmark = True  # as users of fixed sizes set it
    device = torch.device(options.device)
    network = torchvision.models.get_model(options.model, num_classes=options.classes).train()
    if options.qat:
        warnings.simplefilter("ignore")  # it is deprecated, and is what we compare with
        example = (torch.randn(1, 3, options.image, options.image),)
        network = quantize_fx.prepare_qat_fx(network, tq.get_default_qat_qconfig_mapping("x86"), example)
    network.to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    criterion = nn.CrossEntropyLoss()
    images = torch.randn(options.batch, 3, options.image, options.image, device=device)
    labels = torch.randint(0, options.classes, (options.batch,), device=device)

    def run(steps):
        for _ in range(steps):
            optimizer.zero_grad()
            criterion(network(images), labels).backward()
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    run(options.warm_up)
    times = []
    for _ in range(options.repetitions):
        start = time.perf_counter()
        run(options.steps)
        times.append((time.perf_counter() - start) / options.steps * 1e3)
    print(json.dumps({
        "peer": f"torch {torch.__version__}",
        "model": options.model,
        "image": options.image,
        "batch": options.batch,
        "device": options.device,
        "qat": options.qat,
        "tf32": options.tf32,
        "ms_median": statistics.median(times),
        "ms_min": min(times),
        "ms_max": max(times),
        "images_per_s": options.batch / statistics.median(times) * 1e3,
    }))


if __name__ == "__main__":
    main()
