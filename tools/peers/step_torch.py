"""A training step in PyTorch, on the processor.

--form written: as people write it: eager, NCHW, BatchNorm in evaluation mode, Adam.
--form best: channels-last, BatchNorm folded into the convolutions, denormals flushed, fused Adam.
Neither is compiled (`torch.compile`).
"""

import platform

import networks
import side
import torch


def main():
    parser = side.arguments(__doc__.splitlines()[0])
    parser.add_argument("--form", choices=["written", "best"], required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = networks.load(args.model, args.models)
    inputs, labels = map(torch.from_numpy, side.batch(args.batch_size, args.image_size))
    best = args.form == "best"
    if best:
        torch.set_flush_denormal(True)
        model = networks.fold(model, inputs[:1]).to(memory_format=torch.channels_last)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(side.is_trained(name, args.train))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=side.RATE, fused=best or None)

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    side.run(
        step,
        args.warmup,
        args.steps,
        trained_values=sum(p.numel() for p in trained),
        versions={"torch": torch.__version__, "python": platform.python_version()},
    )


if __name__ == "__main__":
    main()
