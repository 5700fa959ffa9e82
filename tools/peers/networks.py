"""The networks, with random weights: made once, and saved for every side.

For each: NAME.pt (PyTorch's state), NAME.onnx (BatchNormalization nodes kept, for ftsurgery) and
NAME.folded.onnx (folded into the convolutions, for onnxruntime-training, which has no gradient for
a BatchNormalization with stored statistics). Parameters keep PyTorch's names in both.
"""

import argparse
import pathlib
import warnings

import side
import timm
import torch
import torchvision
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

BUILDERS = {
    "mobilenet_v1": lambda: timm.create_model("mobilenetv1_100"),
    "mobilenet_v2": torchvision.models.mobilenet_v2,
    "mobilenet_v3_small": torchvision.models.mobilenet_v3_small,
    "efficientnet_lite0": lambda: timm.create_model("efficientnet_lite0"),
    "resnet50": torchvision.models.resnet50,
    "vgg16": torchvision.models.vgg16,
}


def load(name, folder):
    """The network, in evaluation mode."""
    model = BUILDERS[name]()
    model.load_state_dict(torch.load(folder / f"{name}.pt"))
    return model.eval()


def fold(model, example):
    """Folds each BatchNorm into the convolution whose output it reads, in place."""
    outputs, pairs, hooks = {}, [], []

    def after_conv(conv, _inputs, output):
        outputs[id(output)] = (conv, output)

    def before_norm(norm, inputs):
        if id(inputs[0]) in outputs:
            pairs.append((outputs[id(inputs[0])][0], norm))

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(after_conv))
        elif isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(before_norm))
    with torch.no_grad():
        model(example)
    for hook in hooks:
        hook.remove()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    if len(pairs) != len(norms):
        raise SystemExit(f"{len(norms) - len(pairs)} BatchNorms follow no convolution")
    names = {module: name for name, module in model.named_modules()}
    for conv, norm in pairs:
        folded = fuse_conv_bn_eval(conv, norm)
        conv.weight, conv.bias = nn.Parameter(folded.weight), nn.Parameter(folded.bias)
        # timm's BatchNorm has the activation in it.
        rest = nn.Sequential(norm.drop, norm.act) if hasattr(norm, "act") else nn.Identity()
        parent, _, attribute = names[norm].rpartition(".")
        setattr(model.get_submodule(parent), attribute, rest)
    return model


def make(name):
    """A network whose activations have a sane scale in evaluation mode."""
    torch.manual_seed(0)
    model = BUILDERS[name]()
    for parameter in model.parameters():
        # The exporter would make one initializer of parameters that are equal, as these are when
        # new; and scales of 0 would leave gradients of 0.
        if parameter.dim() == 1:
            nn.init.normal_(parameter, 0.0, 0.02)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.normal_(norm.weight, 1.0, 0.05)
        norm.momentum = None
        norm.reset_running_stats()
    with torch.no_grad():
        model.train()(torch.from_numpy(side.batch(8, 224)[0]))
    return model.eval()


def export(model, path):
    """Writes the network as it is, for any number of samples."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (torch.randn(2, 3, 224, 224),),
            path,
            dynamo=False,
            opset_version=17,
            # Evaluation mode, without the exporter's own folding.
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            input_names=["input"],
            output_names=["logits"],
            dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}},
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", choices=sorted(BUILDERS))
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.names:
        last = args.out / f"{name}.folded.onnx"
        if last.exists():
            continue
        model = make(name)
        torch.save(model.state_dict(), args.out / f"{name}.pt")
        export(model, args.out / f"{name}.onnx")
        fold(model, torch.randn(1, 3, 224, 224))
        partial = last.with_suffix(".partial")
        export(model, partial)
        partial.rename(last)


if __name__ == "__main__":
    main()
