#!/usr/bin/env python3
"""Writes `fixtures/surgery`: the small models of `surgery_corpus.py`, and two more of its kinds in a small form.

    python3 tools/make_surgery_fixtures.py

Needs numpy and onnx.
"""

import pathlib

import onnx
import surgery_corpus as corpus

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "surgery"


def main():
    """Writes them all."""
    functions = corpus.functions(None)
    functions.graph.initializer.append(corpus.tensor("unused", 4))
    models = {
        "functions": functions,
        "subgraphs": corpus.subgraphs(None),
        "float16": corpus.float16(None),
        "ir3": corpus.conv_net(9, 3, initializers_are_inputs=True),
        "odd": corpus.odd(None),
        "notes": corpus.annotated(corpus.conv_net()),
    }
    FOLDER.mkdir(exist_ok=True)
    for name, model in models.items():
        onnx.checker.check_model(model)
        onnx.save(model, FOLDER / f"{name}.onnx")
    (FOLDER / "external").mkdir(exist_ok=True)
    corpus.save(corpus.conv_net(), FOLDER / "external" / "model.onnx", external=True)


if __name__ == "__main__":
    main()
