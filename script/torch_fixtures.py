#!/usr/bin/env python3
"""What PyTorch computes for one training step of a torchvision ResNet, as a file that tests/torch.rs compares with.

    python3 -m venv .venv && .venv/bin/pip install torch torchvision safetensors
    .venv/bin/python script/torch_fixtures.py resnet18 --image 64 --batch 4 --out tests/fixtures/resnet18-64.safetensors
    .venv/bin/python script/torch_fixtures.py resnet50 --image 64 --batch 8 --full --out target/resnet50.safetensors
    SIMQAT_TORCH_FIXTURE=target/resnet50.safetensors cargo test --release --test torch -- --ignored

Weights, images and labels come from a formula that both sides know, so they are not in the file. A gradient is in it whole
with --full, and otherwise as its norm and 32 sums with random signs: the mean square of such sums of a difference is the
square of the difference's norm, so 32 numbers tell how far another gradient is off, to about an eighth of the distance.

ReLU and max pooling have corners: where a value lies closer to one than f32 can tell, two right programs may differ by a
whole gradient, and behind a normalization over few values that is per cents. So normalizations shift their channels by 3
deviations, up and down in turn, which leaves few values near zero (those of shortcuts don't: where every ReLU behind a
shift is open, the next normalization takes the shift away, and its gradient is nothing but rounding), and images are drawn until none lies closer than f32
can tell, which the same network in f64 tells.
"""

import argparse
import copy
import sys

import numpy as np
import torch
import torchvision
from safetensors.torch import save_file


def name_hash(name):
    """FNV-1a, 32 bits."""
    value = 0x811C9DC5
    for byte in name.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def words(name, count, salt=0):
    """Pseudo-random words: the finalizer of MurmurHash3 over a Weyl sequence."""
    with np.errstate(over="ignore"):
        x = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B9)
        x += np.uint32((name_hash(name) + salt) & 0xFFFFFFFF)
        x ^= x >> np.uint32(16)
        x *= np.uint32(0x85EBCA6B)
        x ^= x >> np.uint32(13)
        x *= np.uint32(0xC2B2AE35)
        x ^= x >> np.uint32(16)
    return x


def uniform(name, shape, bound):
    """Values between -bound and bound, the same bits as in tests/torch.rs."""
    unit = (words(name, int(np.prod(shape))) >> np.uint32(8)).astype(np.float32) / np.float32(2**24)
    return ((unit * np.float32(2) - np.float32(1)) * np.float32(bound)).reshape(shape)


def start(name, shape):
    """How a tensor of the state dict starts."""
    if name.endswith("running_mean"):
        return np.zeros(shape, np.float32)
    if name.endswith("running_var"):
        return np.ones(shape, np.float32)
    if len(shape) > 1:
        return uniform(name, shape, np.float32(np.sqrt(6.0 / np.prod(shape[1:]))))
    values = uniform(name, shape, 0.25)
    if name.endswith("weight"):
        return values + np.float32(1)
    if "downsample" in name:
        return values
    return values + np.where(np.arange(shape[0]) % 2 == 0, np.float32(3), np.float32(-3))


def projections(name, values):
    """Sums of the values with the signs that each bit of a word says."""
    signs = words(name, values.size, salt=0x5BD1E995)
    flat = values.astype(np.float64).ravel()
    total = flat.sum()
    # +1 where the bit is set and -1 elsewhere: twice the sum over the set ones, less the sum of all.
    return np.array([2 * flat[(signs >> np.uint32(bit)) & np.uint32(1) == 1].sum() - total for bit in range(32)])


def corners(model, images):
    """What goes into each ReLU and each max pooling."""
    seen = []
    hooks = [
        module.register_forward_pre_hook(lambda module, inputs: seen.append((module, inputs[0].clone())))
        for module in model.modules()
        if isinstance(module, (torch.nn.ReLU, torch.nn.MaxPool2d))
    ]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return seen


def is_clear_of_corners(model, images):
    """True where no value is closer to a corner than twice what f32 loses."""
    narrow = corners(copy.deepcopy(model), images)
    wide = corners(copy.deepcopy(model).double(), images.double())
    for (module, inexact), (_, exact) in zip(narrow, wide):
        lost = (inexact.double() - exact).abs().max()
        if isinstance(module, torch.nn.ReLU):
            near = exact.abs().min()
        else:
            size, stride, padding = module.kernel_size, module.stride, module.padding
            planes = exact.flatten(0, 1).unsqueeze(1)
            windows = torch.nn.functional.unfold(planes, size, padding=padding, stride=stride)
            first, second = windows.topk(2, dim=1).values.unbind(1)
            # Where the largest is what a ReLU cut to zero, no gradient comes through anyway.
            near = (first - second)[first > 0].min()
        if near <= 2 * lost:
            return False
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="such as resnet18")
    parser.add_argument("--image", type=int, default=64, help="side of the pictures")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--full", action="store_true", help="write gradients whole")
    parser.add_argument("--names", action="store_true", help="print names and shapes of the state dict instead")
    parser.add_argument("--out")
    args = parser.parse_args()

    model = getattr(torchvision.models, args.model)(num_classes=args.classes)
    state = model.state_dict()
    if args.names:
        for name, tensor in state.items():
            print(name, *tensor.shape)
        return
    if args.out is None:
        sys.exit("name the file to write with --out")
    for name, tensor in state.items():
        if not name.endswith("num_batches_tracked"):
            tensor.copy_(torch.from_numpy(start(name, tuple(tensor.shape))))
    model.train()
    for draw in range(20):
        images = uniform(f"images {draw}", (args.batch, 3, args.image, args.image), 2)
        images = torch.from_numpy(images)
        if is_clear_of_corners(model, images):
            break
    else:
        sys.exit("no images were found that are clear of corners; ask for fewer or smaller ones")
    labels = (torch.arange(args.batch) * 7 + 3) % args.classes

    logits = model(images)
    loss = torch.nn.functional.cross_entropy(logits, labels)
    loss.backward()

    result = {"logits": logits.detach(), "loss": loss.detach().reshape(1)}
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        if args.full:
            result[f"gradient/{name}"] = gradient
        else:
            values = gradient.numpy()
            norm = np.sqrt((values.astype(np.float64) ** 2).sum())
            sums = np.concatenate([[norm], projections(name, values)])
            result[f"sums/{name}"] = torch.from_numpy(sums)
    for name, tensor in model.state_dict().items():
        if "running" in name:
            result[f"state/{name}"] = tensor
    model.eval()
    with torch.no_grad():
        result["evaluated"] = model(images)
    about = {key: str(getattr(args, key)) for key in ("model", "image", "batch", "classes")}
    about["draw"] = str(draw)
    about["torch"] = torch.__version__.split("+")[0]
    save_file({name: tensor.contiguous() for name, tensor in result.items()}, args.out, about)
    print(f"{args.out}: draw {draw}, loss {loss.item():.6f}")


main()
