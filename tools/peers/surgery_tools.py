"""Other tools' surgery, each operation as its documentation has it, for `surgery.py`.

    python surgery_tools.py TOOL OPERATION MODEL OUT '{"inputs": …}'

runs one in this process. An operation gets the model's file, the file to write and what is asked for: `inputs` and
`outputs` (names), `old` and `new`, `opset`, `second` (a model behind the first, to merge).
"""

import json
import pathlib
import subprocess
import sys

TOOLS = {}


def tool(name, *operations):
    """Registers a function for some operations of a tool."""

    def register(function):
        for operation in operations:
            TOOLS.setdefault(name, {})[operation] = function
        return function

    return register


def call(program, *arguments):
    """A program of the environment that runs this file."""
    program = pathlib.Path(sys.executable).parent / program
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr or done.stdout).strip()[-300:])


# --- onnx ---


@tool("onnx", "extract")
def _(model, out, asked):
    from onnx.utils import extract_model

    extract_model(model, out, asked["inputs"], asked["outputs"])


@tool("onnx", "rename")
def _(model, out, asked):
    import onnx

    onnx.save(onnx.compose.add_prefix(onnx.load(model), asked["prefix"]), out)


@tool("onnx", "opset")
def _(model, out, asked):
    import onnx

    onnx.save(onnx.version_converter.convert_version(onnx.load(model), asked["opset"]), out)


@tool("onnx", "merge")
def _(model, out, asked):
    import onnx

    ends = [(name, name) for name in asked["joint"]]
    onnx.save(onnx.compose.merge_models(onnx.load(model), onnx.load(asked["second"]), ends), out)


@tool("onnx", "externalize")
def _(model, out, asked):
    import onnx

    onnx.save(onnx.load(model), out, save_as_external_data=True, location=pathlib.Path(out).name + ".data")


@tool("onnx", "verify")
def _(model, out, asked):
    import onnx

    onnx.checker.check_model(model, full_check=True)


# --- graphsurgeon ---


def surgeon(model):
    import onnx
    import onnx_graphsurgeon

    return onnx_graphsurgeon.import_onnx(onnx.load(model))


def export(graph, out):
    import onnx
    import onnx_graphsurgeon

    onnx.save(onnx_graphsurgeon.export_onnx(graph), out)


@tool("graphsurgeon", "extract")
def _(model, out, asked):
    import numpy

    graph = surgeon(model)
    tensors = graph.tensors()
    graph.inputs = [tensors[name] for name in asked["inputs"]]
    graph.outputs = [tensors[name] for name in asked["outputs"]]
    for tensor in [*graph.inputs, *graph.outputs]:
        tensor.dtype = tensor.dtype or numpy.float32  # which it wants to be told
    for tensor in graph.inputs:
        tensor.inputs.clear()
    export(graph.cleanup(), out)


@tool("graphsurgeon", "fold")
def _(model, out, asked):
    export(surgeon(model).fold_constants().cleanup(), out)


@tool("graphsurgeon", "rename")
def _(model, out, asked):
    graph = surgeon(model)
    graph.tensors()[asked["old"]].name = asked["new"]
    export(graph, out)


@tool("graphsurgeon", "prune")
def _(model, out, asked):
    export(surgeon(model).cleanup(remove_unused_graph_inputs=True), out)


# --- polygraphy ---


@tool("polygraphy", "extract")
def _(model, out, asked):
    ends = ["--inputs", *(f"{n}:auto:auto" for n in asked["inputs"]), "--outputs", *(f"{n}:auto" for n in asked["outputs"])]
    call("polygraphy", "surgeon", "extract", model, "-o", out, *ends)


@tool("polygraphy", "fold")
def _(model, out, asked):
    call("polygraphy", "surgeon", "sanitize", model, "--fold-constants", "-o", out)


@tool("polygraphy", "prune")
def _(model, out, asked):
    call("polygraphy", "surgeon", "sanitize", model, "--cleanup", "-o", out)


@tool("polygraphy", "float16")
def _(model, out, asked):
    call("polygraphy", "convert", model, "--fp-to-fp16", "-o", out)


@tool("polygraphy", "externalize")
def _(model, out, asked):
    size = ["--external-data-size-threshold", "0"]
    call("polygraphy", "convert", model, "-o", out, "--save-external-data", pathlib.Path(out).name + ".data", *size)


# --- onnxslim ---


@tool("onnxslim", "extract")
def _(model, out, asked):
    call("onnxslim", model, out, "--inputs", *asked["inputs"], "--outputs", *asked["outputs"])


@tool("onnxslim", "fold", "prune")
def _(model, out, asked):
    call("onnxslim", model, out)


@tool("onnxslim", "float16")
def _(model, out, asked):
    call("onnxslim", model, out, "--dtype", "fp16")


@tool("onnxslim", "externalize")
def _(model, out, asked):
    call("onnxslim", model, out, "--save-as-external-data")


# --- onnxsim ---


@tool("onnxsim", "fold")
def _(model, out, asked):
    call("onnxsim", model, out)


@tool("onnxsim", "opset")
def _(model, out, asked):
    call("onnxsim", model, out, "--target-opset", asked["opset"])


@tool("onnxsim", "float16")
def _(model, out, asked):
    call("onnxsim", model, out, "--fp16-quantize")


@tool("onnxsim", "externalize")
def _(model, out, asked):
    call("onnxsim", model, out, "--save-as-external-data")


@tool("onnxsim", "diff")
def _(model, out, asked):
    """Its report goes to standard output; nothing is said of equal graphs."""
    program = pathlib.Path(sys.executable).parent / "onnxsim"
    subprocess.run([program, "--graph-diff", model, asked["second"]], check=False)


# --- onnxscript, onnx_ir ---


@tool("onnxscript", "extract")
def _(model, out, asked):
    import onnx_ir

    held = onnx_ir.load(model)
    graph = onnx_ir.convenience.extract(held.graph, asked["inputs"], asked["outputs"])
    onnx_ir.save(onnx_ir.Model(graph, ir_version=held.ir_version, functions=held.functions.values()), out)


@tool("onnxscript", "fold")
def _(model, out, asked):
    import onnx_ir
    from onnxscript import optimizer

    onnx_ir.save(optimizer.optimize(onnx_ir.load(model)), out)


@tool("onnxscript", "rename")
def _(model, out, asked):
    import onnx_ir

    held = onnx_ir.load(model)
    value = onnx_ir.convenience.create_value_mapping(held.graph)[asked["old"]]
    value.name = asked["new"]
    onnx_ir.save(held, out)


@tool("onnxscript", "prune")
def _(model, out, asked):
    import onnx_ir
    from onnx_ir.passes import common

    held = onnx_ir.load(model)
    held = common.RemoveUnusedOpsetsPass()(common.RemoveUnusedNodesPass()(held).model).model
    onnx_ir.save(held, out)


@tool("onnxscript", "opset")
def _(model, out, asked):
    import onnx_ir
    from onnxscript import version_converter

    held = onnx_ir.load(model)
    version_converter.convert_version(held, asked["opset"], fallback=True)
    onnx_ir.save(held, out)


@tool("onnxscript", "externalize")
def _(model, out, asked):
    import onnx_ir

    onnx_ir.save(onnx_ir.load(model), out, external_data=pathlib.Path(out).name + ".data", size_threshold_bytes=0)


# --- onnxruntime, converter-common ---


@tool("onnxruntime", "fold")
def _(model, out, asked):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(out)
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@tool("onnxruntime", "float16")
def _(model, out, asked):
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(model), keep_io_types=True), out)


@tool("converter-common", "float16")
def _(model, out, asked):
    import onnx
    from onnxconverter_common.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(model), keep_io_types=True), out)


# --- simple-onnx-processing-tools ---


@tool("simple-onnx", "extract")
def _(model, out, asked):
    call("sne4onnx", "-if", model, "-ion", *asked["inputs"], "-oon", *asked["outputs"], "-of", out)


@tool("simple-onnx", "rename")
def _(model, out, asked):
    call("sor4onnx", "-if", model, "-on", asked["old"], asked["new"], "-of", out)


@tool("simple-onnx", "opset")
def _(model, out, asked):
    call("soc4onnx", "-if", model, "-os", asked["opset"], "-of", out)


@tool("simple-onnx", "merge")
def _(model, out, asked):
    ends = [word for name in asked["joint"] for word in (name, name)]
    call("snc4onnx", "-if", model, asked["second"], "-sd", *ends, "-opam", "a", "b", "-of", out)


if __name__ == "__main__":
    name, operation, source, target, wanted = sys.argv[1:]
    TOOLS[name][operation](source, target, json.loads(wanted))
