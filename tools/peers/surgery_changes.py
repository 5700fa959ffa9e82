"""Models made from those of the corpus, for `surgery.py`: halves, models with dead parts, and changed ones to find the change of."""

import numpy as np
import onnx
from onnx import helper, numpy_helper


def place(source, row, work, what):
    path = work / row["name"] / what / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def with_outputs(model, names, folder):
    """The model with further outputs, whose types are inferred by the runtime."""
    folder.mkdir(exist_ok=True)
    known = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


def with_dead_parts(source, row, work):
    """With nodes and a weight that no output needs."""
    path = place(source, row, work, "with dead parts")
    model = onnx.load(source)
    weight = numpy_helper.from_array(np.arange(64, dtype=np.float32), "dead.weight")
    model.graph.initializer.append(weight)
    model.graph.node.append(helper.make_node("Neg", ["dead.weight"], ["dead.negative"], "dead one"))
    model.graph.node.append(helper.make_node("Abs", ["dead.negative"], ["dead.end"], "dead two"))
    save(model, path, source)
    return path


def save(model, path, source):
    """As the source has its weights: inside, or beside."""
    external = any(t.data_location == onnx.TensorProto.EXTERNAL for t in onnx.load(source, load_external_data=False).graph.initializer)
    (path.parent / "weights.bin").unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    beside = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 1024} if external else {}
    onnx.save(model, path, **beside)


def halves(source, row, work):
    """The model before and behind its cut, by hand: nodes and tensors that each half needs, all else as it is."""
    model, cut = onnx.load(source), row["cut"]
    inferred = onnx.shape_inference.infer_shapes(model).graph.value_info
    joint = next((value for value in inferred if value.name == cut), None)
    if joint is None or not joint.type.tensor_type.elem_type:
        joint = helper.make_tensor_value_info(cut, onnx.TensorProto.FLOAT, None)
    for part in ("front", "back"):
        half = onnx.ModelProto()
        half.CopyFrom(model)
        graph = half.graph
        wanted = {cut} if part == "front" else {value.name for value in graph.output}
        if part == "back" and cut in wanted:
            yield None
            continue
        nodes = []
        for node in reversed(model.graph.node):
            if wanted & set(node.output) and not (part == "back" and cut in node.output):
                nodes.append(node)
                wanted |= set(reads(node))
        del graph.node[:]
        graph.node.extend(reversed(nodes))
        for field in (graph.initializer, graph.input):
            kept = [item for item in field if item.name in wanted]
            del field[:]
            field.extend(kept)
        sparse = [tensor for tensor in graph.sparse_initializer if tensor.values.name in wanted]
        del graph.sparse_initializer[:]
        graph.sparse_initializer.extend(sparse)
        if part == "front":
            del graph.output[:]
            graph.output.append(joint)
        else:
            graph.input.append(joint)
        made = {name for node in graph.node for name in node.output}
        noted = [value for value in graph.value_info if value.name in made and value.name != cut]
        del graph.value_info[:]
        graph.value_info.extend(noted)
        held = {tensor.name for tensor in graph.initializer}
        notes = [note for note in graph.quantization_annotation if note.tensor_name in held]
        notes = [note for note in notes if {e.value for e in note.quant_parameter_tensor_names} <= held]
        del graph.quantization_annotation[:]
        graph.quantization_annotation.extend(notes)
        path = place(source, row, work, part)
        save(half, path, source)
        yield path


def reads(node):
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for graph in [attribute.g, *attribute.graphs]:
            names += [name for inner in graph.node for name in reads(inner)]
            names += [value.name for value in graph.output]
    return names


def changed(source, row, work):
    """The model with one thing changed, of each kind."""
    if row["name"] not in ("mobilenet_v2", "float16", "vit"):
        return

    def weight(model):
        tensor = max(model.graph.initializer, key=lambda tensor: int(np.prod(tensor.dims)))
        values = numpy_helper.to_array(tensor).copy()
        values.reshape(-1)[0] += 1e-3
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    def attribute(model):
        node = next(node for node in model.graph.node if any(a.type == onnx.AttributeProto.INTS for a in node.attribute))
        next(a for a in node.attribute if a.type == onnx.AttributeProto.INTS).ints[0] += 1

    def metadata(model):
        entry = model.metadata_props.add()
        entry.key, entry.value = "a key", "a value"

    def opset(model):
        model.opset_import[0].version += 1

    def shape(model):
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3

    def renamed(model):
        old = row["cut"]
        for node in model.graph.node:
            for field in (node.input, node.output):
                for index, name in enumerate(field):
                    if name == old:
                        field[index] = "another name"
        for value in model.graph.value_info:
            if value.name == old:
                value.name = "another name"

    for change in (weight, attribute, metadata, opset, shape, renamed):
        model = onnx.load(source)
        change(model)
        path = place(source, row, work, change.__name__)
        save(model, path, source)
        yield change.__name__, path
