"""What a surgery tool made of a model, judged: does it load, has it the numbers, and what did it lose on the way."""

import collections

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper


def feed(inputs, seed=0):
    """Random values for inputs as `corpus.json` describes them."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(size=of["shape"]).astype(helper.tensor_dtype_to_np_dtype(of["type"]))
        for name, of in inputs.items()
    }


def run(path, inputs, outputs=None):
    """Values of a model without any optimisation by the runtime, by name."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = outputs or [output.name for output in session.get_outputs()]
    given = {i.name: as_declared(inputs[i.name], i.type) for i in session.get_inputs()}
    return dict(zip(names, session.run(names, given), strict=True))


def as_declared(value, declared):
    """A value in half or single precision where that is what a model has come to ask for."""
    kind = {"tensor(float16)": np.float16, "tensor(float)": np.float32}.get(declared)
    return value.astype(kind) if kind and np.issubdtype(value.dtype, np.floating) else value


def off(found, wanted):
    """The largest difference relative to the largest wanted value; infinite where shapes or not-a-numbers differ."""
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    if found.shape != wanted.shape or not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(found - wanted).max(initial=0) / max(np.abs(wanted).max(initial=0), 1e-30))


def properties(holder):
    return {entry.key: entry.value for entry in holder.metadata_props}


def weights(model):
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    held |= {sparse.values.name: sparse.values for sparse in model.graph.sparse_initializer}
    return held


def same(one, other):
    if one.data_type != other.data_type or list(one.dims) != list(other.dims):
        return False
    return numpy_helper.to_array(one).tobytes() == numpy_helper.to_array(other).tobytes()


def lost(before_path, after_path, may_change=()):
    """What is not kept of what need not have changed, in words. `may_change`: `nodes`, `weights`, `opset`, `names`, `io`."""
    before, after = onnx.load(before_path), onnx.load(after_path)
    words = []

    def hold(word, kept):
        if not kept:
            words.append(word)

    hold("metadata", properties(before).items() <= properties(after).items())
    hold("metadata added", len(properties(after)) <= len(properties(before)))
    header = ("producer_name", "producer_version", "domain", "model_version", "doc_string")
    hold("header", all(getattr(before, field) == getattr(after, field) for field in header))
    hold("graph notes", properties(before.graph).items() <= properties(after.graph).items())
    hold("graph notes", before.graph.doc_string == after.graph.doc_string and before.graph.name == after.graph.name)
    if "opset" not in may_change:
        imports = [{entry.domain: entry.version for entry in model.opset_import} for model in (before, after)]
        hold("opset", all(imports[0].get(domain) == version for domain, version in imports[1].items()))
        hold("IR version", before.ir_version == after.ir_version)
    nodes = [{node.output[0]: node for node in model.graph.node if node.output} for model in (before, after)]
    # A value that another node has come to make, as a cast behind it, tells nothing of the node that made it.
    both = {name for name in nodes[0].keys() & nodes[1].keys() if nodes[0][name].op_type == nodes[1][name].op_type}
    if "nodes" not in may_change:
        hold("nodes", nodes[1].keys() <= nodes[0].keys() or "names" in may_change)
    hold("node names", all(nodes[0][name].name == nodes[1][name].name for name in both))
    hold("node notes", all(nodes[0][n].doc_string == nodes[1][n].doc_string and properties(nodes[0][n]) == properties(nodes[1][n]) for n in both))
    held = [weights(model) for model in (before, after)]
    if "weights" not in may_change:
        hold("names of weights", held[1].keys() <= held[0].keys())
        hold("bytes of weights", all(same(held[0][name], held[1][name]) for name in held[0].keys() & held[1].keys()))
    common = held[0].keys() & held[1].keys()
    hold("tensor notes", all(held[0][n].doc_string == held[1][n].doc_string and properties(held[0][n]) == properties(held[1][n]) for n in common))
    annotated = [{note.tensor_name for note in model.graph.quantization_annotation} for model in (before, after)]
    hold("annotations", (annotated[0] & held[1].keys()) <= annotated[1])
    own = {(function.domain, function.name) for function in before.functions}
    calls = {name for name, node in nodes[0].items() if (node.domain, node.op_type) in own}
    hold("functions", (calls & nodes[1].keys()) <= both)
    declared = [{value.name for value in model.graph.value_info} for model in (before, after)]
    made = {name for node in after.graph.node for name in node.output}
    hold("value infos", (declared[0] & made) <= declared[1] | {value.name for value in after.graph.output})
    sparse = [len(model.graph.sparse_initializer) for model in (before, after)]
    hold("sparse weights", sparse[0] == 0 or sparse[1] > 0 or "weights" in may_change or not read(after, before))
    if is_external(before_path):
        hold("weights beside it", is_external(after_path) or "weights" in may_change)
    if "io" not in may_change:
        free = [collections.Counter(d.dim_param for v in model.graph.input for d in v.type.tensor_type.shape.dim if d.dim_param) for model in (before, after)]
        kinds = [{v.name: v.type.tensor_type.elem_type for v in ends(model)} for model in (before, after)]
        hold("types of inputs and outputs", all(kinds[0].get(name, kind) == kind for name, kind in kinds[1].items()))
        hold("free dimensions", not free[0] or bool(free[1]) or not {v.name for v in before.graph.input} & {v.name for v in after.graph.input})
    return sorted(set(words))


def ends(model):
    """Inputs and outputs, without inputs that stand for initializers."""
    held = weights(model)
    return [*(value for value in model.graph.input if value.name not in held), *model.graph.output]


def read(after, before):
    """Whether nodes of `after` read a sparse weight of `before`."""
    names = {sparse.values.name for sparse in before.graph.sparse_initializer}
    return any(name in names for node in after.graph.node for name in node.input)


def is_external(path):
    model = onnx.load(path, load_external_data=False)
    return any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer)


def has_large(path, least=1024):
    """Whether a model has an initializer of so many bytes that it is worth a place beside the model."""
    tensors = onnx.load(path).graph.initializer
    return any(numpy_helper.to_array(tensor).nbytes >= least for tensor in tensors if tensor.data_type < 16)


def is_well_formed(path):
    """Whether onnx's full check finds nothing; `None` where it said so of a model already."""
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:  # noqa: BLE001 - it raises classes of its own, and those of C++
        return str(error).splitlines()[0][:160]
    return None
