#!/usr/bin/env python3
"""Makes small image classifiers of random weights with whatever frameworks its Python has, as their users do.

usage: framework_models.py WORK [NAME ...]

For try_frameworks.py, which runs it with one Python after the other: each makes the models (all, or those whose
name begins with NAME) of the frameworks that it has, as WORK/NAME.onnx, and beside each WORK/NAME.json with who
wrote it (`by`), what is special about it (`form`), and the preprocessing that it must be told to want (`wants`; null
where nothing in the file tells). What a framework refuses to write is told and left out.

A function per model, its frameworks imported inside. No pretrained weights are fetched. Batch normalisation has
statistics of random images.
"""

import json
import os
import pathlib
import sys
import tempfile
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("YOLO_OFFLINE", "true")

SIDE = 64
CLASSES = 10
NAMES = ["tench", "cock", "junco", "vole", "newt", "boa", "crab", "hen", "it's", "owl"]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
MODELS = {}


class Missing(Exception):
    """A framework that this Python does not have."""


def model(form, wants=None):
    """Registers a function that writes the model named as the function to a path, and says who wrote it."""

    def register(make):
        MODELS[make.__name__] = (make, form, wants)
        return make

    return register


def need(*modules):
    import importlib

    try:
        found = [importlib.import_module(m) for m in modules]
    except ImportError as e:
        raise Missing(str(e)) from None
    return found[0] if len(found) == 1 else found


# ---------------------------------------------------------------- PyTorch


def torch_settled(net, images):
    """For evaluation, with running statistics of random images, and weights as large as a trained network's: drawn as
    many frameworks draw them, gradients are as small as rounding."""
    import torch

    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in net.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim >= 2:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
            else:
                parameter.add_(0.05 * noise)
    norms = [m for m in net.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None
        norm.reset_running_stats()
        norm.train()
    with torch.no_grad():
        net(images)
    return net.eval()


def torch_images(count, side=SIDE):
    import torch

    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def older(net, path, sample, opset=17, names=("input", "logits"), free=True):
    import torch

    axes = {n: {0: "batch"} for n in names} if free else None
    torch.onnx.export(
        net, sample[:1], str(path), dynamo=False, opset_version=opset,
        input_names=[names[0]], output_names=[*names[1:]], dynamic_axes=axes,
    )  # fmt: skip
    return f"PyTorch {version(torch)}, older exporter"


def newer(net, path, sample, opset=None, free=True, **more):
    import torch

    shapes = ({0: torch.export.Dim("batch")},) if free else None
    sample = sample[:2] if free else sample[:1]
    torch.onnx.export(net, (sample,), str(path), dynamo=True, opset_version=opset, dynamic_shapes=shapes, **more)
    return f"PyTorch {version(torch)}, newer exporter"


def version(module):
    return module.__version__.split("+")[0]


def torchvision_net(name="mobilenet_v3_small", side=SIDE, **more):
    torch, torchvision = need("torch", "torchvision")
    torch.manual_seed(0)
    if name == "vit":
        return torchvision.models.VisionTransformer(
            side, 16, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=CLASSES
        )
    return torch_settled(
        torchvision.models.get_model(name, num_classes=CLASSES, **more), torch_images(8, side)
    )


def normalised(net):
    """A network behind a normalisation, for pixels from 0 to 1."""
    import torch

    class Normalised(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net
            self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
            self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

        def forward(self, x):
            return self.net((x - self.mean) / self.std)

    return Normalised().eval()


@model("torchvision's `Normalize` in front", "unit")
def torch_normalize_older(path):
    torch, torchvision = need("torch", "torchvision")
    net = torch.nn.Sequential(torchvision.transforms.Normalize(MEAN, STD), torchvision_net())
    return older(net.eval(), path, torch_images(2))


@model("`(x - mean) / std` in front", "unit")
def torch_normalize_newer(path):
    return newer(normalised(torchvision_net("resnet18")), path, torch_images(2))


def of_bytes(net, kind):
    torch = need("torch")
    from torch.nn import functional as f

    class Bytes(torch.nn.Module):
        """Bytes as cameras give them, channels last: turned, scaled and resized inside."""

        def __init__(self):
            super().__init__()
            self.net = normalised(net)

        def forward(self, x):
            x = x.permute(0, 3, 1, 2).float()
            if kind == "resized":
                x = f.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
            return self.net(x / 255).softmax(1)

    return Bytes().eval()


def byte_images(count, side=SIDE):
    import torch

    return torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8)


@model("bytes, channels last, resized from 96 px and normalised inside, Softmax", "raw")
def torch_bytes_older(path):
    return older(of_bytes(torchvision_net("shufflenet_v2_x0_5"), "resized"), path, byte_images(2, 96))


@model("bytes, channels last, resized from 96 px and normalised inside, Softmax", "raw")
def torch_bytes_newer(path):
    return newer(of_bytes(torchvision_net("shufflenet_v2_x0_5"), "resized"), path, byte_images(2, 96))


@model("bytes, channels last, for one image", "raw")
def torch_bytes_one(path):
    return newer(of_bytes(torchvision_net("vit"), "as they are"), path, byte_images(1), free=False)


@model("floats of 0 to 255: `(x / 255 - mean) / std`, for one image", "raw")
def timm_scaled_newer(path):
    torch, timm = need("torch", "timm")
    torch.manual_seed(0)
    net = timm.create_model("mobilenetv4_conv_small_050", num_classes=CLASSES)
    mean, std = (torch.tensor(net.default_cfg[k]).view(3, 1, 1) for k in ("mean", "std"))

    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net
            self.register_buffer("mean", mean)
            self.register_buffer("std", std)

        def forward(self, x):
            return self.net((x / 255.0 - self.mean) / self.std)

    return newer(torch_settled(Scaled(), torch_images(8)), path, torch_images(1), free=False) + ", timm"


@model("a scripted module")
def torch_scripted(path):
    torch = need("torch")
    return older(torch.jit.script(torchvision_net("googlenet", init_weights=False, aux_logits=False)), path, torch_images(2))


@model("weights beside it, functions not written out", "unit")
def torch_functions(path):
    return newer(normalised(torchvision_net("vit")), path, torch_images(2), optimize=False, external_data=True)


@model("open image size", "unit")
def torch_open_newer(path):
    torch = need("torch")
    net = normalised(torchvision_net("efficientnet_b0"))
    shapes = ({0: torch.export.Dim("batch"), 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO},)
    torch.onnx.export(net, (torch_images(2),), str(path), dynamo=True, dynamic_shapes=shapes)
    return f"PyTorch {version(torch)}, newer exporter"


@model("float16 throughout")
def torch_half(path):
    return newer(torchvision_net("regnet_y_400mf").half(), path, torch_images(2).half())


@model("features of a backbone, no classifier")
def timm_features(path):
    torch, timm = need("torch", "timm")
    torch.manual_seed(0)
    net = timm.create_model("vit_tiny_patch16_224", img_size=SIDE, num_classes=0, depth=2)
    return older(net.eval(), path, torch_images(2), names=("input", "features")) + ", timm"


@model("concatenated pools, two dense layers and dropout as head")
def fastai_learner(path):
    torch, fastai = need("torch", "fastai")
    from fastai.vision.all import create_vision_model, squeezenet1_1

    torch.manual_seed(0)
    net = torch_settled(create_vision_model(squeezenet1_1, CLASSES, pretrained=False), torch_images(8))
    return older(net, path, torch_images(2)) + f", fastai {fastai.__version__}"


# ---------------------------------------------------------------- Ultralytics


def yolo(path, config, **options):
    torch, ultralytics = need("torch", "ultralytics")
    import shutil

    torch.manual_seed(0)
    learner = ultralytics.YOLO(f"{config}.yaml", task="classify")
    torch_settled(learner.model, torch_images(8))
    learner.model.names = dict(enumerate(["cat", "dog"] + [f"class {i}" for i in range(2, 1000)]))
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            shutil.move(learner.export(format="onnx", imgsz=SIDE, device="cpu", **options), path)
        finally:
            os.chdir(here)
    return f"Ultralytics {ultralytics.__version__}"


@model("`names`, `imgsz`, `batch`, … in metadata, for one image", "unit")
def yolov8n_cls(path):
    return yolo(path, "yolov8n-cls")


@model("the same, dynamic, not simplified", "unit")
def yolo11n_cls_dynamic(path):
    return yolo(path, "yolo11n-cls", dynamic=True, simplify=False)


@model("the same, half, for one image", "unit")
def yolo11n_cls_half(path):
    return yolo(path, "yolo11n-cls", half=True)


# ---------------------------------------------------------------- Hugging Face


def transformer(kind, cls="ForImageClassification", **config):
    torch, transformers = need("torch", "transformers")
    torch.manual_seed(0)
    labels = dict(enumerate(NAMES))
    settings = getattr(transformers, f"{kind}Config")(
        id2label=labels, label2id={n: i for i, n in labels.items()}, **config
    )
    return getattr(transformers, f"{kind}{cls}")(settings)


SMALL = dict(image_size=SIDE, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
HF = {
    "vit": lambda: transformer("ViT", **SMALL),
    "deit_teacher": lambda: transformer("DeiT", "ForImageClassificationWithTeacher", **SMALL),
    "beit": lambda: transformer("Beit", use_relative_position_bias=True, **SMALL),
    "dinov2": lambda: transformer("Dinov2", **(SMALL | {"patch_size": 16})),
    "resnet": lambda: transformer("ResNet", embedding_size=16, hidden_sizes=[16, 32, 32, 64], depths=[1, 1, 1, 1], layer_type="basic"),
    "swin": lambda: transformer("Swin", image_size=SIDE, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4),
    "convnext": lambda: transformer("ConvNext", hidden_sizes=[16, 32, 32, 64], depths=[1, 1, 1, 1]),
    "mobilevit": lambda: transformer("MobileViT", image_size=SIDE, hidden_sizes=[16, 24, 32], neck_hidden_sizes=[8, 8, 16, 16, 24, 32, 64]),
    "segformer": lambda: transformer("Segformer", hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 2]),
    "levit": lambda: transformer("Levit", image_size=SIDE, hidden_sizes=[16, 24, 32], num_attention_heads=[1, 2, 2], depths=[1, 1, 1], key_dim=[8, 8, 8]),
    "efficientnet": lambda: transformer("EfficientNet", image_size=SIDE, width_coefficient=0.3, depth_coefficient=0.3, hidden_dim=384),
    "mobilenet_v2": lambda: transformer("MobileNetV2", image_size=SIDE, depth_multiplier=0.35),
}  # fmt: skip
CLIP = dict(projection_dim=24, patch_size=16) | SMALL


def logits_only(net):
    import torch

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, pixel_values):
            return self.net(pixel_values).logits

    return Logits().eval()


def by_torch(kind, export):
    def make(path):
        transformers = need("transformers")
        net = torch_settled(HF[kind](), torch_images(8))
        by = export(logits_only(net), path, torch_images(2)) if export is newer else export(
            net, path, torch_images(2), names=("pixel_values", "logits")
        )  # fmt: skip
        return f"{by}, transformers {version(transformers)}"

    make.__name__ = f"hf_{kind}_{export.__name__}"
    return make


for kind in HF:
    for export in (older, newer):
        model(f"{kind} of transformers")(by_torch(kind, export))


@model("CLIP's image tower with projection: embedding, and the last hidden state")
def hf_clip_vision(path):
    _, transformers = need("torch", "transformers")
    net = torch_settled(transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**CLIP)), torch_images(2))
    names = ("pixel_values", "image_embeds", "last_hidden_state")
    return older(net, path, torch_images(2), names=names) + f", transformers {version(transformers)}"


@model("CLIP's image tower of open_clip, normalised embedding")
def open_clip_tower(path):
    torch, open_clip = need("torch", "open_clip")
    torch.manual_seed(0)
    vision = dict(image_size=SIDE, layers=2, width=64, head_width=32, patch_size=16)
    text = dict(context_length=8, vocab_size=64, width=64, heads=2, layers=1)
    clip = open_clip.CLIP(32, vision, text)

    class Tower(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.clip = clip

        def forward(self, image):
            return self.clip.encode_image(image, normalize=True)

    return newer(Tower().eval(), path, torch_images(2)) + f", open_clip {open_clip.__version__}"


def optimum(path, kind):
    _, optimum, exporters = need("torch", "optimum", "optimum.exporters.onnx")
    import shutil
    import importlib.metadata

    net = torch_settled(HF[kind](), torch_images(8))
    with tempfile.TemporaryDirectory() as folder:
        net.save_pretrained(f"{folder}/net")
        out = f"{folder}/out"
        exporters.main_export(f"{folder}/net", out, task="image-classification", opset=17, do_validation=False)
        shutil.move(f"{out}/model.onnx", path)
    return f"Optimum {importlib.metadata.version('optimum-onnx')}"


@model("vit")
def optimum_vit(path):
    return optimum(path, "vit")


@model("mobilevit")
def optimum_mobilevit(path):
    return optimum(path, "mobilevit")


@model("swin, open image size")
def optimum_swin(path):
    return optimum(path, "swin")


# ---------------------------------------------------------------- Keras and TensorFlow


def keras_settled(net, shape=(SIDE, SIDE, 3)):
    """With running statistics of random images."""
    import keras
    import numpy as np

    rng = np.random.default_rng(0)
    net.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    for layer in net._flatten_layers():
        if hasattr(layer, "moving_mean"):
            layer.momentum = 0.1
    net.fit(rng.uniform(0, 255, (32, *shape)), rng.integers(0, CLASSES, 32), batch_size=8, verbose=0)
    return net


def keras_export(net, path, **more):
    keras = need("keras")
    net.export(str(path), format="onnx", verbose=False, **more)
    return f"Keras {keras.__version__}, {keras.backend.backend()}"


def keras_application(name, **more):
    keras = need("keras", "tensorflow", "tf2onnx")[0]
    keras.utils.set_random_seed(0)
    make = getattr(keras.applications, name)
    return keras_settled(make(weights=None, input_shape=(SIDE, SIDE, 3), classes=CLASSES, **more))


@model("Rescaling inside, Softmax", "raw")
def keras_mobilenet_v3(path):
    return keras_export(keras_application("MobileNetV3Small"), path)


@model("Rescaling and Normalization inside, Softmax", "raw")
def keras_efficientnet(path):
    return keras_export(keras_application("EfficientNetB0"), path)


@model("Normalization inside, layer scales, Softmax", "raw")
def keras_convnext(path):
    keras = need("keras", "tensorflow", "tf2onnx")[0]
    from keras.src.applications.convnext import ConvNeXt

    keras.utils.set_random_seed(0)
    sizes = {"depths": [1, 1, 1, 1], "projection_dims": [16, 32, 32, 64], "default_size": SIDE, "name": "small"}
    net = ConvNeXt(**sizes, weights=None, input_shape=(SIDE, SIDE, 3), classes=CLASSES)
    return keras_export(keras_settled(net), path)


def keras_resizing(path, is_frozen):
    keras = need("keras", "tensorflow", "tf2onnx")[0]
    keras.utils.set_random_seed(0)
    layers = keras.layers
    net = keras.Sequential([
        keras.Input((96, 96, 3)), layers.Resizing(SIDE, SIDE), layers.Rescaling(1 / 127.5, offset=-1),
        layers.Conv2D(16, 3, 2, "same", use_bias=False), layers.BatchNormalization(), layers.ReLU(6.0),
        layers.SeparableConv2D(32, 3, 2, "same", activation="swish"), layers.GlobalAveragePooling2D(),
        layers.Dropout(0.3), layers.Dense(CLASSES, "softmax"),
    ])  # fmt: skip
    net = keras_settled(net, (96, 96, 3))
    net.trainable = not is_frozen
    return keras_export(net, path)


@model("`Resizing` and `Rescaling` inside, Softmax", "raw")
def keras_resizing_frozen(path):
    return keras_resizing(path, True)


@model("the same with its layers trainable, which Keras writes in training mode", "raw")
def keras_resizing_trainable(path):
    return keras_resizing(path, False)


@model("a function of bytes around `preprocess_input`", "raw")
def tf2onnx_function(path):
    tf, tf2onnx, keras = need("tensorflow", "tf2onnx", "keras")
    net = keras_application("MobileNetV2", alpha=0.35)

    @tf.function(input_signature=[tf.TensorSpec([None, 80, 80, 3], tf.uint8, name="image")])
    def serve(image):
        x = tf.image.resize(tf.cast(image, tf.float32), (SIDE, SIDE))
        return {"probabilities": net(keras.applications.mobilenet_v2.preprocess_input(x), training=False)}

    tf2onnx.convert.from_function(serve, serve.input_signature, opset=15, output_path=str(path))
    return f"tf2onnx {tf2onnx.__version__}"


@model("from a TFLite file", "raw")
def tf2onnx_tflite(path):
    tf, tf2onnx = need("tensorflow", "tf2onnx")
    net = keras_application("MobileNetV3Small", minimalistic=True)
    with tempfile.TemporaryDirectory() as folder:
        net.export(f"{folder}/saved", verbose=False)
        lite = tf.lite.TFLiteConverter.from_saved_model(f"{folder}/saved").convert()
        pathlib.Path(f"{folder}/net.tflite").write_bytes(lite)
        tf2onnx.convert.from_tflite(f"{folder}/net.tflite", opset=15, output_path=str(path))
    return f"tf2onnx {tf2onnx.__version__}, TFLite"


@model("`Rescaling` inside, Softmax", "raw")
def keras_on_torch(path):
    os.environ["KERAS_BACKEND"] = "torch"
    keras = need("keras", "torch")[0]
    keras.utils.set_random_seed(0)
    layers = keras.layers
    net = keras.Sequential([
        keras.Input((SIDE, SIDE, 3)), layers.Rescaling(1 / 255), layers.Conv2D(16, 3, 2, "same"), layers.BatchNormalization(),
        layers.ReLU(), layers.DepthwiseConv2D(3, padding="same"), layers.Conv2D(32, 1, activation="gelu"),
        layers.GlobalAveragePooling2D(), layers.Dense(CLASSES, "softmax"),
    ])  # fmt: skip
    net(torch_images(2).permute(0, 2, 3, 1))
    return keras_export(net, path)


# ---------------------------------------------------------------- JAX


def flax_cnn():
    nnx, jax = need("flax.nnx", "jax")
    import jax.numpy as jnp

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.stem = nnx.Conv(3, 16, (3, 3), strides=2, rngs=rngs)
            self.norm = nnx.BatchNorm(16, use_running_average=True, rngs=rngs)
            self.depth = nnx.Conv(16, 16, (3, 3), feature_group_count=16, rngs=rngs)
            self.point = nnx.Conv(16, 32, (1, 1), rngs=rngs)
            self.layer_norm = nnx.LayerNorm(32, rngs=rngs)
            self.head = nnx.Linear(32, CLASSES, rngs=rngs)

        def __call__(self, x):
            x = nnx.relu(self.norm(self.stem(x)))
            x = nnx.gelu(self.point(self.depth(x)))
            x = nnx.max_pool(x, window_shape=(2, 2), strides=(2, 2))
            return self.head(self.layer_norm(jnp.mean(x, axis=(1, 2))))

    return Net(nnx.Rngs(0))


@model("a convolutional network of flax.nnx, `x / 127.5 - 1` in front", "raw")
def jax_cnn(path):
    jax2onnx = need("jax2onnx")
    net = flax_cnn()
    jax2onnx.to_onnx(lambda x: net(x / 127.5 - 1.0), [("B", SIDE, SIDE, 3)], return_mode="file", output_path=str(path))
    return by_jax()


def by_jax():
    import importlib.metadata

    return f"jax2onnx {importlib.metadata.version('jax2onnx')}"


@model("a vision transformer of flax.nnx, functions")
def jax_vit(path):
    jax2onnx, nnx = need("jax2onnx", "flax.nnx")
    import jax.numpy as jnp

    class Block(nnx.Module):
        def __init__(self, width, rngs):
            self.norm1, self.norm2 = nnx.LayerNorm(width, rngs=rngs), nnx.LayerNorm(width, rngs=rngs)
            self.attend = nnx.MultiHeadAttention(2, width, width, decode=False, rngs=rngs)
            self.up, self.down = nnx.Linear(width, 2 * width, rngs=rngs), nnx.Linear(2 * width, width, rngs=rngs)

        def __call__(self, x):
            x = x + self.attend(self.norm1(x))
            return x + self.down(nnx.gelu(self.up(self.norm2(x))))

    class Vit(nnx.Module):
        def __init__(self, rngs, width=32):
            self.patch = nnx.Conv(3, width, (16, 16), strides=16, padding="VALID", rngs=rngs)
            self.token = nnx.Param(jnp.zeros((1, 1, width)) + 0.02)
            self.place = nnx.Param(jnp.ones((1, (SIDE // 16) ** 2 + 1, width)) * jnp.arange(width) / 100)
            self.blocks = nnx.List([Block(width, rngs) for _ in range(2)])
            self.norm = nnx.LayerNorm(width, rngs=rngs)
            self.head = nnx.Linear(width, CLASSES, rngs=rngs)

        def __call__(self, x):
            x = self.patch(x)
            x = x.reshape(x.shape[0], -1, x.shape[-1])
            token = jnp.broadcast_to(self.token.value, (x.shape[0], 1, x.shape[-1]))
            x = jnp.concatenate([token, x], axis=1) + self.place.value
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x)[:, 0])

    net = Vit(nnx.Rngs(0))
    jax2onnx.to_onnx(net, [("B", SIDE, SIDE, 3)], return_mode="file", output_path=str(path))
    return by_jax()


# ---------------------------------------------------------------- Paddle, and others


def paddle_export(path, make, shape):
    paddle = need("paddle", "paddle2onnx")[0]
    import importlib.metadata

    paddle.seed(0)
    net = make(paddle)
    net.eval()
    with tempfile.TemporaryDirectory() as folder:
        spec = paddle.static.InputSpec(shape, "float32", "x")
        paddle.onnx.export(net, f"{folder}/net", input_spec=[spec], opset_version=13)
        pathlib.Path(f"{folder}/net.onnx").rename(path)
    return f"paddle2onnx {importlib.metadata.version('paddle2onnx')}"


@model("resnet18 of paddle.vision, any batch")
def paddle_resnet(path):
    make = lambda paddle: paddle.vision.models.resnet18(num_classes=CLASSES)
    return paddle_export(path, make, [None, 3, SIDE, SIDE])


@model("mobilenet_v3_small of paddle.vision, for one image")
def paddle_mobilenet(path):
    make = lambda paddle: paddle.vision.models.mobilenet_v3_small(num_classes=CLASSES)
    return paddle_export(path, make, [1, 3, SIDE, SIDE])


@model("a perceptron of rows: no images")
def sklearn_mlp(path):
    skl2onnx, sklearn = need("skl2onnx", "sklearn.neural_network")
    import numpy as np

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 64)).astype(np.float32), rng.integers(0, 3, 40)
    net = sklearn.MLPClassifier((16,), max_iter=5).fit(x, y)
    path.write_bytes(skl2onnx.to_onnx(net, x[:1]).SerializeToString())
    return f"skl2onnx {skl2onnx.__version__}"


def main():
    warnings.filterwarnings("ignore")
    work = pathlib.Path(sys.argv[1]).resolve()
    work.mkdir(parents=True, exist_ok=True)
    for name, (make, form, wants) in MODELS.items():
        if len(sys.argv) > 2 and not any(name.startswith(n) for n in sys.argv[2:]):
            continue
        path = work / f"{name}.onnx"
        try:
            by = make(path)
        except Missing:
            continue
        except Exception as e:  # Whatever a framework says to a model that it does not write.
            lines = str(e).strip().splitlines() or [type(e).__name__]
            print(f"{name}: not written: {lines[0][:200]}", file=sys.stderr, flush=True)
            continue
        (work / f"{name}.json").write_text(json.dumps({"by": by, "form": form, "wants": wants}))
        print(f"{name}: {by}, {path.stat().st_size} bytes", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
