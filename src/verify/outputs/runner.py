"""Answers a job of `ftsurgery verify` with a runtime of Python; see job.rs."""

import json
import sys
import time

# Not what lies in the folder in which it runs.
sys.path[:] = [path for path in sys.path if path]

with open(sys.argv[1], encoding="utf-8") as file:
    job = json.load(file)
try:
    import numpy as np

    if job["runtime"] == "openvino":
        import openvino as runtime
    else:
        import onnxruntime as runtime
except ImportError as error:
    print(f"{error} ({sys.executable})", file=sys.stderr)
    sys.exit(3)


def onnxruntime(path):
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return names, lambda inputs: session.run(None, inputs)


def openvino(path):
    # Floats are floats, also where the processor has shorter ones.
    model = runtime.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    names = [min(output.get_names(), default=str(i)) for i, output in enumerate(model.outputs)]
    request = model.create_infer_request()

    def run(inputs):
        result = request.infer(inputs)
        return [result[i] for i in range(len(names))]

    return names, run


def load(stored):
    return np.fromfile(stored["file"], stored["dtype"]).reshape(stored["dims"])


inputs = {stored["name"]: load(stored) for stored in job["inputs"]}
prepare = openvino if job["runtime"] == "openvino" else onnxruntime
models, runs = [], []
for m, path in enumerate(job["models"]):
    told = {"error": None, "outputs": [], "times": []}
    models.append(told)
    try:
        names, run = prepare(path)
        for i, (name, value) in enumerate(zip(names, run(inputs))):
            value = np.ascontiguousarray(value)
            target = f"{job['folder']}/output{m}_{i}"
            value.tofile(target)
            told["outputs"].append(
                {"name": name, "dtype": value.dtype.name, "dims": list(value.shape), "file": target}
            )
        runs.append((run, told["times"]))
    except Exception as error:  # whatever it says, it refuses
        lines = [line for line in str(error).splitlines() if line.strip()]
        told["error"] = f"{type(error).__name__}: {lines[0] if lines else ''}"[:500]

end = time.monotonic() + job["seconds"] * len(runs)
while job["seconds"] and runs and time.monotonic() < end:
    # In turns, so that what else the machine does is shared.
    for run, times in runs:
        begin = time.perf_counter()
        run(inputs)
        times.append(time.perf_counter() - begin)

with open(f"{job['folder']}/answer.json", "w", encoding="utf-8") as file:
    json.dump({"version": str(runtime.__version__).split("-")[0], "models": models}, file)
