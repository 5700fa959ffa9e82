"""The examples of docs/python.md, as they stand there, one after the other."""

import re
import shutil
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs/python.md"


def test_examples_run(model, digits, tmp_path, monkeypatch):
    shutil.copy(model, tmp_path / "model.onnx")
    shutil.copytree(digits, tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"<!-- python -->\n```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) > 2
    for example in examples:
        exec(compile(example, str(DOCS), "exec"), {"__name__": "example"})
