"""Exports torchvision's ImageNet classifiers (224 pixels, 1000 classes) by PyTorch.

torchvision downloads the weights (IMAGENET1K_V1) and checks them by the digest in their name. The
exporter runs in evaluation mode without folding: BatchNormalization nodes stay. Names of parameters
are PyTorch's.
"""

import io

import numpy as np
import onnx

from .export import SIDE, Export, random_statistics, wanted
from .network import INPUT, IR_VERSION, OPSET, OUTPUT

WEIGHTS = "IMAGENET1K_V1"


def export(name, random_weights):
    torch, torchvision = wanted("torchvision", "torch torchvision", "torch", "torchvision")
    torch.manual_seed(0)
    module = torchvision.models.get_model(name, weights=None if random_weights else WEIGHTS).eval()
    if random_weights:
        rng = np.random.default_rng(0)
        for norm in (m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            stored = (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var)
            for old, new in zip(stored, random_statistics(rng, norm.num_features), strict=True):
                old.copy_(torch.from_numpy(new))
    file = io.BytesIO()
    torch.onnx.export(
        module,
        (torch.zeros(2, 3, SIDE, SIDE),),
        file,
        dynamo=False,
        opset_version=OPSET,
        # The module's own mode, without the exporter's folding.
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_axes={INPUT: {0: "N"}, OUTPUT: {0: "N"}},
    )
    model = onnx.load_from_string(file.getvalue())
    model.ir_version = min(model.ir_version, IR_VERSION)
    module.double()

    def scores(x):
        with torch.no_grad():
            return module(torch.from_numpy(x)).numpy().astype(np.float64)

    return model, scores


def entry(name, title):
    return Export(
        title=f"{title}, ImageNet, 1000 classes",
        source=f"torchvision.models.{name}",
        weights=WEIGHTS,
        licence="BSD-3-Clause (torchvision); it states no other terms for the weights",
        preprocess="imagenet",
        name=name,
        export=export,
    )


EXPORTS = {
    f"torchvision-{name}": entry(name, title)
    for name, title in {
        "vgg16": "VGG16",
        "mobilenet_v2": "MobileNet v2 1.0",
        "mobilenet_v3_small": "MobileNet v3 small",
        "resnet50": "ResNet-50",
    }.items()
}
