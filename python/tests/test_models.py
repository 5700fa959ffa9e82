"""Surgery and looking, on paths, bytes and `onnx.ModelProto`."""

import threading
import time

import numpy
import pytest

import ftsurgery

onnx = pytest.importorskip("onnx")


def test_blocks_and_layers_are_found(model):
    of_path = ftsurgery.analyze(model)
    assert of_path.blocks[-1].is_classifier
    assert sum(block.parameters for block in of_path.blocks) == of_path.totals["parameters"]
    assert ftsurgery.analyze(model.read_bytes()).layers == of_path.layers
    assert ftsurgery.analyze(onnx.load(model)).layers == of_path.layers


def test_surgery_gives_the_kind_of_model_that_it_is_given(model, tmp_path):
    of_bytes = ftsurgery.opset(model.read_bytes(), to=21)
    assert isinstance(of_bytes, bytes)
    of_proto = ftsurgery.opset(onnx.load(model), to=21)
    assert isinstance(of_proto, onnx.ModelProto) and of_proto.opset_import[0].version == 21
    path = ftsurgery.opset(model, to=21, out=tmp_path / "new.onnx")
    assert path == tmp_path / "new.onnx" and path.read_bytes() == of_bytes
    assert ftsurgery.opset(str(model), to=21, out=str(path), force=True) == str(path)
    with pytest.raises(ValueError, match="out="):
        ftsurgery.opset(model, to=21)


def test_functions_can_be_chained(model):
    half = ftsurgery.precision(ftsurgery.fold(ftsurgery.prune(model.read_bytes()), batch_norm=True), to="f16")
    assert len(half) < 0.7 * model.stat().st_size
    again = ftsurgery.precision(half, to="f32")
    assert ftsurgery.analyze(again).blocks[-1].is_classifier


def test_a_new_head_with_names_and_none(model):
    named = onnx.load_from_string(ftsurgery.head(model.read_bytes(), classes=["cat", "dog"]))
    assert any("cat" in entry.value for entry in named.metadata_props)
    assert named.graph.output[0].type.tensor_type.shape.dim[1].dim_value == 2
    without = ftsurgery.head(onnx.load(model), remove=True)
    assert len(without.graph.node) < len(onnx.load(model).graph.node)


def test_a_model_is_divided_and_merged_again(model):
    whole = onnx.load(model)
    middle = whole.graph.node[4].output[0]
    front = ftsurgery.extract(whole, outputs=[middle])
    back = ftsurgery.extract(whole, inputs=[middle])
    merged = ftsurgery.merge(front, back)
    assert [o.name for o in merged.graph.output] == [o.name for o in whole.graph.output]
    old = whole.graph.input[0].name
    renamed = ftsurgery.rename(merged, value={old: "picture"})
    assert renamed.graph.input[0].name == "picture"


def test_values_beside_a_model_need_a_path(model, tmp_path):
    beside = ftsurgery.externalize(model, out=tmp_path / "light.onnx")
    assert beside.with_name("light.onnx.data").is_file()
    inside = ftsurgery.internalize(beside, out=tmp_path / "single.onnx")
    assert inside.stat().st_size > beside.stat().st_size
    assert ftsurgery.batch(model.read_bytes(), fix=4)


def test_gradients_are_those_of_the_differentiated_model(model, arrays):
    import onnxruntime

    x, y = arrays[0][:4], arrays[1][:4]
    found = ftsurgery.gradients(model, x, y)
    step = ftsurgery.differentiate(model.read_bytes(), batch_size=4)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(step, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    data = onnx.load(model).graph.input[0].name
    values = dict(zip(names, session.run(None, {data: x, "labels": y})))
    assert found.loss == pytest.approx(float(values["loss"]), rel=1e-4)
    assert len(found.gradients) == sum(name.startswith("grad/") for name in names)
    for name, gradient in found.gradients.items():
        numpy.testing.assert_allclose(gradient, values[f"grad/{name}"], rtol=1e-3, atol=1e-5)


def test_faults_have_their_texts(tmp_path):
    with pytest.raises(ValueError, match="missing.onnx"):
        ftsurgery.analyze(tmp_path / "missing.onnx")
    with pytest.raises(ValueError) as raised:
        ftsurgery.analyze(b"no model")
    assert "\n" not in str(raised.value)[-1]


def test_other_threads_of_python_go_on(model):
    count, done = 0, threading.Event()

    def counts():
        nonlocal count
        while not done.is_set():
            count += 1
            time.sleep(0.001)

    thread = threading.Thread(target=counts)
    thread.start()
    try:
        ftsurgery.fold(model.read_bytes(), batch_norm=True)
    finally:
        done.set()
        thread.join()
    assert count > 10
