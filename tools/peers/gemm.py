"""The rate of dense products of float32 matrices in PyTorch, in operations per second."""

import argparse
import json
import time

import torch


def rate(size, repeats=7):
    """The best of some products of two square matrices; two operations per multiply-add."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    out = torch.empty(size, size)
    torch.mm(a, b, out=out)
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, required=True)
    torch.set_num_threads(parser.parse_args().threads)
    print(json.dumps({str(size): rate(size) for size in (1024, 2048)}))


if __name__ == "__main__":
    main()
