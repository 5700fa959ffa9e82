"""Small networks that PyTorch exports, for `surgery_corpus.py`."""

import io
import warnings

import onnx

SIDE = 32


def exported(name, dynamo=False):
    """A network of this module as an ONNX model with a free batch."""
    import torch

    torch.manual_seed(0)
    network = {"vit": vit, "unet": unet, "convnext": convnext}[name]().eval()
    return export(network, torch.rand(2, 3, SIDE, SIDE), dynamo)


def torchvision(name):
    """A network of torchvision's with random weights."""
    import torch
    from torchvision import models

    torch.manual_seed(0)
    return export(getattr(models, name)().eval(), torch.rand(2, 3, 224, 224), dynamo=False)


def export(network, images, dynamo):
    import torch

    names = {"input_names": ["image"], "output_names": ["logits"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            batch = torch.export.Dim("N", min=1, max=64)
            program = torch.onnx.export(network, (images,), dynamo=True, dynamic_shapes=({0: batch},), verbose=False, **names)
            return program.model_proto
        buffer = io.BytesIO()
        axes = {"image": {0: "N"}, "logits": {0: "N"}}
        torch.onnx.export(network, (images,), buffer, dynamo=False, opset_version=17, dynamic_axes=axes, **names)
        return onnx.load_from_string(buffer.getvalue())


def vit(width=32, depth=2, heads=4, patch=8, classes=10):
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

        def forward(self, x):
            n, tokens, _ = x.shape
            q, k, v = self.qkv(self.norm1(x)).reshape(n, tokens, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            weights = (q @ k.transpose(-1, -2) / (width // heads) ** 0.5).softmax(-1)
            x = x + self.out((weights @ v).transpose(1, 2).reshape(n, tokens, width))
            return x + self.mlp(self.norm2(x))

    class ViT(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, width, patch, patch)
            self.token = nn.Parameter(torch.randn(1, 1, width) * 0.1)
            self.places = nn.Parameter(torch.randn(1, (SIDE // patch) ** 2 + 1, width) * 0.1)
            self.blocks = nn.Sequential(*(Block() for _ in range(depth)))
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

        def forward(self, image):
            x = self.patches(image).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
            return self.head(self.norm(self.blocks(x))[:, 0])

    return ViT()


def unet(width=8, classes=10):
    import torch
    from torch import nn
    from torch.nn import functional

    def pair(inside, out):
        def one(i):
            return [nn.Conv2d(i, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()]

        return nn.Sequential(*one(inside), *one(out))

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.down1, self.down2, self.bottom = pair(3, width), pair(width, 2 * width), pair(2 * width, 4 * width)
            self.up2, self.up1 = pair(6 * width, 2 * width), pair(3 * width, width)
            self.head = nn.Conv2d(width, classes, 1)

        def forward(self, image):
            one = self.down1(image)
            two = self.down2(functional.max_pool2d(one, 2))
            low = self.bottom(functional.max_pool2d(two, 2))
            up = functional.interpolate(low, size=two.shape[2:], mode="bilinear", align_corners=False)
            up = self.up2(torch.cat([up, two], 1))
            up = functional.interpolate(up, size=one.shape[2:], mode="nearest")
            return self.head(self.up1(torch.cat([up, one], 1))).mean((2, 3))

    return UNet()


def convnext(width=16, classes=10):
    import torch
    from torch import nn

    class Norm(nn.LayerNorm):
        def forward(self, x):
            return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
            self.norm, self.wide, self.narrow = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
            self.scale = nn.Parameter(torch.full((width,), 0.5))

        def forward(self, x):
            y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
            y = self.scale * self.narrow(nn.functional.gelu(self.wide(y)))
            return x + y.permute(0, 3, 1, 2)

    stem = [nn.Conv2d(3, width, 4, 4), Norm(width)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(width), nn.Linear(width, classes)]
    return nn.Sequential(*stem, Block(), Block(), *head)
