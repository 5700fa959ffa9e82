"""The rate of dense products of float32 matrices in PyTorch, in operations per second."""

import argparse
import json
import time

import torch


def rate(size, device, repeats=7):
    """The best of some products of two square matrices; two operations per multiply-add."""
    a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
    out = torch.empty(size, size, device=device)
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    torch.mm(a, b, out=out)
    best = float("inf")
    for _ in range(repeats):
        wait()
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        wait()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    sizes = (1024, 2048) if args.device == "cpu" else (2048, 8192)
    print(json.dumps({str(size): rate(size, args.device) for size in sizes}))


if __name__ == "__main__":
    main()
