#!/usr/bin/env python3
"""Write a VGG16 with its full classifier and random weights as ONNX.

Shaped like torchvision's export: NCHW, 224 x 224, 13 convolutions with ReLUs, five max-poolings,
an average pooling that keeps 7 x 7, three dense layers; 138,357,544 parameters, 553 MB.
Serves to measure `ftsurgery analyze` on a large file. Needs numpy and onnx.

    python tools/make_vgg16.py vgg16.onnx
"""

import argparse

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STAGES = [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]


def build(classes: int, seed: int) -> onnx.ModelProto:
    rng = np.random.default_rng(seed)
    nodes, weights = [], []

    def parameter(name: str, dims: list[int], fan_in: int) -> str:
        values = rng.standard_normal(dims, dtype=np.float32) * np.float32(np.sqrt(2 / fan_in))
        weights.append(numpy_helper.from_array(values, name))
        return name

    def node(op: str, inputs: list[str], output: str, **attributes) -> str:
        nodes.append(helper.make_node(op, inputs, [output], name=f"/{output}", **attributes))
        return output

    value, channels, position = "input", 3, 0
    for width, depth in STAGES:
        for _ in range(depth):
            name = f"features.{position}"
            value = node(
                "Conv",
                [
                    value,
                    parameter(f"{name}.weight", [width, channels, 3, 3], channels * 9),
                    parameter(f"{name}.bias", [width], channels * 9),
                ],
                f"{name}/Conv",
                kernel_shape=[3, 3],
                pads=[1, 1, 1, 1],
                strides=[1, 1],
            )
            value = node("Relu", [value], f"features.{position + 1}/Relu")
            channels, position = width, position + 2
        value = node(
            "MaxPool", [value], f"features.{position}/MaxPool", kernel_shape=[2, 2], strides=[2, 2]
        )
        position += 1
    value = node(
        "AveragePool", [value], "avgpool/AveragePool", kernel_shape=[1, 1], strides=[1, 1]
    )
    value = node("Flatten", [value], "Flatten", axis=1)
    features = 512 * 7 * 7
    for position, width in [(0, 4096), (3, 4096), (6, classes)]:
        name = f"classifier.{position}"
        weight = parameter(f"{name}.weight", [width, features], features)
        bias = parameter(f"{name}.bias", [width], features)
        last = position == 6
        output = "output" if last else f"{name}/Gemm"
        value = node("Gemm", [value, weight, bias], output, transB=1)
        if not last:
            value = node("Relu", [value], f"classifier.{position + 1}/Relu")
        features = width

    graph = helper.make_graph(
        nodes,
        "vgg16",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 224, 224])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", classes])],
        weights,
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="make_vgg16"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", help="file to write")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    model = build(arguments.classes, arguments.seed)
    onnx.checker.check_model(model)
    onnx.save(model, arguments.output)


if __name__ == "__main__":
    main()
