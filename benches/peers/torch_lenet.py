"""What PyTorch needs for a training step of the same LeNet5, in float and with eager-mode QAT.

    python torch_lenet.py [--batch 32] [--steps 200] [--repetitions 5] [--device cpu]

Prints one JSON object: median, min and max of the repetitions in ms per step, for float and for QAT with the
quantization that our recipe asks for (8 bits; weights symmetric per channel, activations with a moving average).
The images are random: the time does not depend on them.
"""

import argparse
import json
import statistics
import time
import warnings

import torch
from torch import nn
from torch.ao import quantization as tq

WARM_UP = 20


class LeNet5(nn.Module):
    """Our `lenet5`, with the stubs that mark where quantization begins and ends."""

    def __init__(self):
        super().__init__()
        self.quant, self.dequant = tq.QuantStub(), tq.DeQuantStub()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 6, 5, bias=False), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5, bias=False), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(400, 120), nn.ReLU(),
            nn.Linear(120, 84), nn.ReLU(),
            nn.Linear(84, 10),
        )

    def forward(self, images):
        return self.dequant(self.layers(self.quant(images)))


def quantized():
    """LeNet5 with fake quantizers."""
    activations = tq.FakeQuantize.with_args(
        observer=tq.MovingAverageMinMaxObserver, quant_min=0, quant_max=255, dtype=torch.quint8)
    weights = tq.FakeQuantize.with_args(
        observer=tq.PerChannelMinMaxObserver, quant_min=-128, quant_max=127, dtype=torch.qint8,
        qscheme=torch.per_channel_symmetric)
    network = LeNet5().train()
    network.qconfig = tq.QConfig(activation=activations, weight=weights)
    return tq.prepare_qat(network)


class Contest:
    """A network in training on random images."""

    def __init__(self, network, batch, device):
        self.device = torch.device(device)
        self.network = network.train().to(self.device)
        self.loss = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.9)
        self.batches = [
            (torch.randn(batch, 1, 32, 32, device=self.device), torch.randint(0, 10, (batch,), device=self.device))
            for _ in range(8)
        ]
        self.times = []

    def run(self, steps):
        for step in range(steps):
            images, labels = self.batches[step % len(self.batches)]
            self.optimizer.zero_grad()
            self.loss(self.network(images), labels).backward()
            self.optimizer.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def time(self, steps):
        start = time.perf_counter()
        self.run(steps)
        self.times.append((time.perf_counter() - start) / steps * 1e3)

    def summary(self):
        return {"ms_median": statistics.median(self.times), "ms_min": min(self.times), "ms_max": max(self.times)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # eager-mode QAT is deprecated, and is what we compare with

    torch.manual_seed(0)
    contests = {
        "float": Contest(LeNet5(), options.batch, options.device),
        "qat": Contest(quantized(), options.batch, options.device),
    }
    for contest in contests.values():
        contest.run(WARM_UP)
    for _ in range(options.repetitions):
        for contest in contests.values():
            contest.time(options.steps)
    print(json.dumps({
        "peer": f"torch {torch.__version__}",
        "device": options.device,
        "threads": torch.get_num_threads(),
        "batch": options.batch,
        **{name: contest.summary() for name, contest in contests.items()},
    }))


if __name__ == "__main__":
    main()
