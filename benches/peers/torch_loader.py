"""What `simqat bench loader` times, by torchvision's DataLoader: pictures of an image folder, cropped at random, resized,
mirrored and normalized, in shuffled batches of float tensors.

    python benches/peers/torch_loader.py DATA/train [--workers 2] [--batch 64] [--epochs 5]

Needs torch, torchvision and Pillow. Prints one JSON object.
"""
import argparse, json, statistics, sys, time

import torch
from torchvision import datasets, transforms

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--epochs", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(2)
    steps = transforms.Compose(
        [
            transforms.RandomResizedCrop(args.size),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    data = datasets.ImageFolder(args.folder, steps)
    loader = torch.utils.data.DataLoader(
        data,
        batch_size=args.batch,
        shuffle=True,
        drop_last=True,
        num_workers=args.workers,
        persistent_workers=args.workers > 0,
        prefetch_factor=4 if args.workers else None,
    )
    rates = []
    for epoch in range(args.epochs + 1):
        start, images = time.perf_counter(), 0
        for batch, _ in loader:
            images += len(batch)
        rate = images / (time.perf_counter() - start)
        print(f"pass {epoch}: {rate:.0f} images/s", file=sys.stderr)
        # The first pass starts the workers and brings the files into the system's memory.
        if epoch:
            rates.append(rate)
    print(json.dumps({"images_per_s": statistics.median(rates), "min": min(rates), "max": max(rates)}))
