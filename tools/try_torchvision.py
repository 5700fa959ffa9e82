#!/usr/bin/env python3
"""Holds ftsurgery's gradients against PyTorch's on torchvision's classifiers, exported by PyTorch.

usage: try_torchvision.py [--ftsurgery PATH] [--work FOLDER] [--doc docs/exporters.md] [NAME ...]

For each network (those in NETWORKS, or those named; `timm:NAME` is one of timm's, `timm` those in TIMM)
with random weights and ten classes: exported by both of PyTorch's exporters, `ftsurgery gradients` of all parameters on two
random images, and the same by PyTorch in double precision. Told is, for the parameter that is worst,
the norm of the difference over that of the gradient, and what PyTorch's own float32 gradients are off;
the smallest of four batches each. A ReLU whose input is nearly nothing may be active in one precision
and not in the other, which shows as 1e-2 now here, now there. Where none of the four seems to be without,
`smooth` has the same network with Softplus in place of ReLU.

The forms: `training` is the older exporter (opset 17, for one image) as if for training, which keeps all
parameters and their names; `default` the same exporter as it is called mostly (opset 17, any batch size),
and `newer` the other one (opset 20, any batch size). These two fold batch normalisation and turn weights
over; what they renamed or folded is not compared.

Images are as small as the network takes them, from 64 pixels on. Statistics of batch normalisation are
those of random images, and parameters of one dimension, of equal numbers, or equal to another are moved
at random, so that no two are equal: the older exporter writes equal ones once.

With --doc, the table between the markers of that file is replaced. Needs Python 3.10 or newer with
numpy, onnx, torch, torchvision, and onnxscript for the newer exporter.
"""

import argparse
import copy
import logging
import pathlib
import subprocess
import warnings

import numpy as np
import onnx
import torch
import torchvision
from torch import nn
from torch.nn import functional as f

from doc_table import write_table

ROOT = pathlib.Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- torchvision -->", "<!-- /torchvision -->"
NETWORKS = """alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet inception_v3
    maxvit_t mnasnet1_0 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large regnet_x_400mf regnet_y_400mf
    resnet18 resnet50 resnext50_32x4d shufflenet_v2_x1_0 squeezenet1_1 swin_t swin_v2_t vgg11_bn vit_b_32
    wide_resnet50_2""".split()
# Those of timm that are told of in docs/exporters.md.
TIMM = """beit_base_patch16_224 botnet26t_256 cait_xxs24_224 coat_tiny coatnet_nano_rw_224 convit_tiny
    convmixer_768_32 convnextv2_atto crossvit_tiny_240 cspresnet50 davit_tiny
    deit_tiny_distilled_patch16_224 densenetblur121d dla34 dpn48b ecaresnet26t edgenext_xx_small
    efficientformer_l1 efficientvit_b0 ese_vovnet19b_dw eva02_tiny_patch14_224 fastvit_t8
    focalnet_tiny_srf gcvit_xxtiny gernet_s ghostnet_050 gmlp_s16_224 hardcorenas_a hgnetv2_b0
    hrnet_w18_small inception_next_atto inception_resnet_v2 inception_v4 lambda_resnet26t levit_128s
    mambaout_femto maxxvit_rmlp_nano_rw_256 mixer_s32_224 mixnet_s mobilenetv4_conv_small mobilevit_xxs
    mobilevitv2_050 nest_tiny nfnet_l0 pit_ti_224 poolformer_s12 pvt_v2_b0 rdnet_tiny regnetz_b16
    repghostnet_050 repvgg_a0 res2net50_26w_4s resmlp_12_224 resnetblur50 resnetv2_50 resnetv2_50x1_bit
    rexnet_100 selecsls42 sequencer2d_s seresnet50 skresnet18 starnet_s1 swiftformer_xs tiny_vit_5m_224
    tinynet_e tresnet_m twins_svt_small visformer_tiny vit_relpos_small_patch16_224 vit_tiny_patch16_224
    volo_d1_224 vovnet39a xception41 xcit_nano_12_p16_224""".split()
# These pool to a fixed size, which the older exporter writes only where it divides the map's.
LARGE = ["alexnet", "vgg11_bn"]
CLASSES = 10
SEEDS = [5, 6, 7, 8]
# A larger difference is that of a ReLU, or of a wrong rule.
KINKED = 1e-4
# Tried in turn: image sizes, and the names under which constructors take them.
SIZES = [64, 96, 128, 224]
SIZE_NAMES = ["image_size", "img_size", "input_size", None]


def images(batch, size, seed):
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(seed))


def built(name):
    """The network, to be evaluated, and the smallest image that it takes."""
    if name.startswith("timm:"):
        import timm

        make = lambda **more: timm.create_model(name[5:], num_classes=CLASSES, **more)
    else:
        first = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        make = lambda **more: torchvision.models.get_model(name, num_classes=CLASSES, **first, **more)
    for size in SIZES[-1:] if name in LARGE else SIZES:
        for key in SIZE_NAMES:
            torch.manual_seed(0)
            try:
                network = make(**({key: size} if key else {})).eval()
                # Some networks take a size for evaluation and not for training.
                settle(network, size)
                return network, size
            except Exception as e:  # What a constructor says to a size that it does not take differs.
                error = e
    raise error


def settle(network, size):
    """Gives batch normalisation statistics, and makes all parameters different ones."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None
        norm.reset_running_stats()
        norm.train()
    with torch.no_grad():
        network(images(8, size, 3))
        network.eval()
        generator, seen = torch.Generator().manual_seed(4), set()
        for parameter in network.parameters():
            # Scales of branches begin at nothing in some networks.
            small, equal = parameter.abs().max() < 1e-3, bool((parameter == parameter.flatten()[0]).all())
            equal = equal or parameter.numpy().tobytes() in seen
            seen.add(parameter.numpy().tobytes())
            share = 0.1 if small else 0.05 if equal or parameter.ndim == 1 else 0
            parameter.add_(share * torch.randn(parameter.shape, generator=generator))
    for module in network.modules():
        # timm keeps what it computes of parameters for evaluation, which cannot be differentiated twice.
        if hasattr(module, "attention_bias_cache"):
            module.training = True


def smoothed(network):
    """A copy with Softplus in place of ReLU, also where a function is called."""
    copied = copy.deepcopy(network)
    for module in list(copied.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, (nn.ReLU, nn.ReLU6)):
                setattr(module, name, nn.Softplus())
    f.relu = torch.relu = lambda x, inplace=False: f.softplus(x)
    return copied


def export(network, size, form, path):
    one, several = images(1, size, 5), images(2, size, 5)
    names = {"input_names": ["input"], "output_names": ["logits"]}
    older = {"dynamo": False, "opset_version": 17, **names}
    if form == "training":
        mode = torch.onnx.TrainingMode.PRESERVE
        torch.onnx.export(network, one, str(path), training=mode, do_constant_folding=False, **older)
    elif form == "default":
        torch.onnx.export(network, one, str(path), dynamic_axes={"input": {0: "n"}}, **older)
    else:
        free = ({0: torch.export.Dim("n", min=1, max=64)},)
        newer = {"dynamo": True, "opset_version": 20, "external_data": False, **names}
        torch.onnx.export(network, (several,), str(path), dynamic_shapes=free, **newer)


def reference(network, x, y):
    """Gradients by PyTorch, in the network's precision."""
    network.zero_grad()
    f.cross_entropy(network(x), y).backward()
    return {n: p.grad.double().numpy() for n, p in network.named_parameters() if p.grad is not None}


def initial(path):
    """The initializers of a model."""
    return {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


def worst(found, wanted, names):
    """The largest difference of a gradient, over its norm; of tiny ones over that of all."""
    floor = 1e-6 * np.sqrt(sum((g**2).sum() for g in wanted.values()))
    return max(np.linalg.norm(found[n] - wanted[n]) / (np.linalg.norm(wanted[n]) + floor) for n in names)


def attempt(args, name, network, size, form):
    stem = f"{name.replace(':', '_')}-{form}"
    path, batch, out = [args.work / f"{stem}{end}" for end in (".onnx", "-batch.npz", "-gradients.npz")]
    row = [name, str(size), form]
    try:
        export(network, size, form, path)
    except Exception as e:
        return [*row, f"not exported: {str(e).splitlines()[0][:80]}", "", ""]
    # Some are folded with batch normalisation under their own names.
    values, parameters = initial(path), dict(network.named_parameters())
    kept = {n for n, p in parameters.items() if n in values and np.array_equal(values[n], p.detach())}
    double = copy.deepcopy(network).double()
    ours, theirs = [], []
    for seed in SEEDS:
        x, y = images(2, size, seed), torch.tensor([1, 7])
        np.savez(batch, x=x.numpy(), y=y.numpy())
        command = [args.ftsurgery, "--quiet", "gradients", path, "--batch", batch, "--out", out]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return [*row, " ".join(done.stderr.split()), "", ""]
        arrays = np.load(out)
        found = {n.removeprefix("grad/"): arrays[n] for n in arrays.files if n.startswith("grad/")}
        try:
            wanted, single = reference(double, x.double(), y), reference(network, x, y)
        except RuntimeError as e:
            return [*row, f"not differentiated by PyTorch: {str(e)[:80]}", "", ""]
        same = [n for n in wanted if n in found and n in kept]
        ours.append(worst(found, wanted, same))
        theirs.append(worst(single, wanted, same))
    for file in (path, batch, out):
        file.unlink()
    counts = f"{len(same)} of {len(wanted)}"
    return [*row, counts, *(f"{min(errors):.1e}" for errors in (ours, theirs))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=NETWORKS)
    parser.add_argument("--ftsurgery", default=str(ROOT / "target/release/ftsurgery"))
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "target/torchvision")
    parser.add_argument("--forms", default="training,default,newer", help="[default: training,default,newer]")
    parser.add_argument("--doc", type=pathlib.Path)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    rows = [["network", "pixels", "form", "compared", "ftsurgery", "PyTorch, float32"], ["---"] * 6]
    every = [each for name in args.names for each in ([f"timm:{n}" for n in TIMM] if name == "timm" else [name])]
    for name in every:
        try:
            network, size = built(name)
        except Exception as e:
            print(f"{name}: not built: {str(e)[:200]}", flush=True)
            continue
        for form in args.forms.split(","):
            row = attempt(args, name, network, size, form)
            rows.append(row)
            print("RESULT", " | ".join(row), flush=True)
            if row[4] and float(row[4]) > max(KINKED, 3 * float(row[5])):
                relu = f.relu, torch.relu
                smooth = attempt(args, name, smoothed(network), size, form)
                f.relu, torch.relu = relu
                rows.append([*smooth[:2], f"{form}, smooth", *smooth[3:]])
                print("RESULT", " | ".join(rows[-1]), flush=True)
    if args.doc:
        write_table(args.doc, (BEGIN, END), rows)


if __name__ == "__main__":
    main()
