"""Exports Keras' ImageNet classifiers (224 pixels, 1000 classes) by TensorFlow and tf2onnx.

Keras downloads the weights and checks them by their digest. The model is made without its softmax
and converted with an input of channels first. tf2onnx folds normalisations into the convolutions,
or leaves a Mul and an Add of them: there are no BatchNormalization nodes.
"""

import numpy as np

from .export import SIDE, Export, random_statistics, wanted
from .network import INPUT, IR_VERSION, OPSET, OUTPUT

WEIGHTS = "imagenet"


def export(name, random_weights):
    tensorflow, tf2onnx = wanted("Keras", "tensorflow tf2onnx", "tensorflow", "tf2onnx")
    tensorflow.keras.utils.set_random_seed(0)
    build = getattr(tensorflow.keras.applications, name)
    network = build(
        weights=None if random_weights else WEIGHTS,
        input_shape=(SIDE, SIDE, 3),
        classifier_activation=None,
    )
    if random_weights:
        rng = np.random.default_rng(0)
        for layer in network.layers:
            if isinstance(layer, tensorflow.keras.layers.BatchNormalization):
                layer.set_weights(random_statistics(rng, layer.gamma.shape[0]))
    signature = [tensorflow.TensorSpec((None, SIDE, SIDE, 3), tensorflow.float32, name=INPUT)]

    @tensorflow.function(input_signature=signature)
    def scores_of(x):
        return network(x, training=False)

    model, _ = tf2onnx.convert.from_function(
        scores_of, input_signature=signature, opset=OPSET, inputs_as_nchw=[INPUT]
    )
    rename(model.graph)
    del model.opset_import[1:]
    model.ir_version = min(model.ir_version, IR_VERSION)

    def scores(x):
        return network(x.transpose(0, 2, 3, 1).astype(np.float32), training=False).numpy()

    return model, scores


def rename(graph):
    """Calls the output and the batch axis as in the other backbones."""
    (output,) = graph.output
    (maker,) = [node for node in graph.node if output.name in node.output]
    if any(output.name in node.input for node in graph.node):
        raise ValueError(f"{output.name} is read inside the network")
    maker.output[list(maker.output).index(output.name)] = output.name = OUTPUT
    for value in (graph.input[0], output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    # Shapes of values inside that name the batch axis otherwise.
    del graph.value_info[:]


EXPORTS = {
    f"keras-{name.lower()}": Export(
        title=f"{title}, ImageNet, 1000 classes",
        source=f"keras.applications.{name}",
        weights=WEIGHTS,
        licence="Apache-2.0 (Keras); its documentation tells where the weights are from",
        preprocess="signed",
        name=name,
        export=export,
    )
    for name, title in {"ResNet50V2": "ResNet-50 v2", "MobileNet": "MobileNet v1 1.0"}.items()
}
