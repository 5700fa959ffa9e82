"""What is installed: the command, the types, the library of onnxruntime."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest

import ftsurgery
from ftsurgery import _call


def command(*words, **options):
    return subprocess.run([_call.program(), *words], capture_output=True, text=True, **options)


def test_the_command_is_installed_and_takes_the_library_of_the_package():
    told = command("runtime", "status", "--json")
    assert told.returncode == 0, told.stderr
    status = json.loads(told.stdout)
    assert Path(status["path"]).parent == Path(onnxruntime.__file__).parent / "capi"
    assert command("--version").stdout == f"ftsurgery {ftsurgery.__version__}\n"


def test_exit_codes_and_texts_are_those_of_the_command(model):
    told = command("opset", model, "--to", "99", "--dry-run")
    assert told.returncode == 2
    with pytest.raises(ValueError) as raised:
        ftsurgery.call("opset", model, to=99, dry_run=True)
    assert f"error: {raised.value}\n" == told.stderr
    assert command("tune").returncode == 2


def test_as_a_module_it_is_the_same_command():
    told = subprocess.run([sys.executable, "-m", "ftsurgery", "--version"], capture_output=True, text=True)
    assert told.stdout == f"ftsurgery {ftsurgery.__version__}\n"


def test_verify_starts_its_runtimes_as_the_installed_command(model):
    told = json.loads(ftsurgery.call("verify", model, json=True))
    assert told["holds"], told


def test_the_script_of_ray_is_there():
    pytest.importorskip("ray")
    told = subprocess.run([sys.executable, "-m", "ftsurgery.ray", "--help"], capture_output=True, text=True)
    assert "ftsurgery plan" in told.stdout, told.stderr


def test_an_unknown_option_is_told_with_those_that_there_are():
    with pytest.raises(TypeError, match="no option `epoch`; it has .*epochs"):
        ftsurgery.tune("model.onnx", "photos", "run", epoch=3)


def test_the_options_that_are_typed_are_those_of_the_command():
    generate = Path(__file__).resolve().parents[2] / "tools/python_options.py"
    checked = subprocess.run([sys.executable, generate, "--check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_every_function_of_the_package_has_a_description():
    for name in ftsurgery.__all__:
        given = getattr(ftsurgery, name)
        described = inspect.isfunction(given) or inspect.isclass(given)
        assert not described or given.__doc__, name
