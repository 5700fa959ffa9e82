"""A training step in PyTorch, on the processor or a GPU.

--form written: as people write it: eager, NCHW, BatchNorm in evaluation mode, Adam.
--form best: channels-last, BatchNorm folded into the convolutions, denormals flushed, fused Adam.
--form compiled: the same, compiled (`torch.compile`).
--form bfloat16: as best, with what autocast computes in bfloat16.
On a GPU products are of float32, unless --tf32 is given.
"""

import platform

import networks
import side
import torch


def main():
    parser = side.arguments(__doc__.splitlines()[0])
    parser.add_argument("--form", choices=["written", "best", "compiled", "bfloat16"], required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tf32", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = args.tf32
    model = networks.load(args.model, args.models)
    inputs, labels = map(torch.from_numpy, side.batch(args.batch_size, args.image_size))
    best = args.form != "written"
    if best:
        torch.set_flush_denormal(True)
        model = networks.fold(model, inputs[:1]).to(memory_format=torch.channels_last)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    model, inputs, labels = (x.to(args.device) for x in (model, inputs, labels))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(side.is_trained(name, args.train))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=side.RATE, fused=best or None)

    forward = torch.compile(model) if args.form == "compiled" else model
    lower = torch.autocast(
        torch.device(args.device).type, torch.bfloat16, enabled=args.form == "bfloat16"
    )

    def step():
        optimizer.zero_grad()
        with lower:
            loss = torch.nn.functional.cross_entropy(forward(inputs), labels)
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
