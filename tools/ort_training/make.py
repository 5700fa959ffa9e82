#!/usr/bin/env python3
"""Makes a shared library of an installed onnxruntime-training, for ORT_DYLIB_PATH: see library.c. For Linux.

usage: PYTHON make.py OUT.so, with the Python that has the package; needs a C compiler.
"""

import ctypes
import glob
import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import sysconfig
import tempfile

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "library.c")


def libpython() -> str:
    """The shared library of this Python."""
    name = sysconfig.get_config_var("INSTSONAME") or ""
    folders = [sysconfig.get_config_var(key) or "" for key in ("LIBDIR", "LIBPL")]
    folders.append(os.path.join(folders[0], sysconfig.get_config_var("MULTIARCH") or ""))
    for folder in folders:
        path = os.path.join(folder, name)
        if ".so" in name and os.path.exists(path):
            return path
    sys.exit(f"the Python of {sys.executable} has no shared library; take one that has, as Debian's with libpython3.N")


def module_path() -> str:
    """The module of onnxruntime, without importing the package, which imports more than is installed."""
    spec = importlib.util.find_spec("onnxruntime")
    for folder in spec.submodule_search_locations if spec else []:
        for path in glob.glob(glob.escape(folder) + "/capi/onnxruntime_pybind11_state*.so"):
            return os.path.realpath(path)
    sys.exit(f"{sys.executable} has no onnxruntime: pip install onnxruntime-training-cpu==1.19.2 'numpy<2'")


def compile_library(out: str, module: str, place: int) -> None:
    defined = [f'-DLIBPYTHON="{libpython()}"', f'-DMODULE="{module}"', f"-DPLACE={place}"]
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-O1", "-Wall", "-shared", "-fPIC", *defined, SOURCE, "-o", out, "-ldl"], check=True)


def place_of_api(module: str) -> int:
    """Where the C API stands in the module, in bytes from its beginning in memory."""
    with tempfile.TemporaryDirectory() as folder:
        library = os.path.join(folder, "library.so")
        compile_library(library, module, 0)
        loader = importlib.machinery.ExtensionFileLoader("onnxruntime_pybind11_state", module)
        ort = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
        loader.exec_module(ort)
        options = ort.SessionOptions()
        options.register_custom_ops_library(library)
        given = ctypes.c_void_p.in_dll(ctypes.CDLL(library), "given").value
        with open("/proc/self/maps", encoding="utf-8") as maps:
            starts = [int(line.split("-")[0], 16) for line in maps if line.rstrip().endswith(module)]
        return given - min(starts)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    module = module_path()
    compile_library(sys.argv[1], module, place_of_api(module))


main()
