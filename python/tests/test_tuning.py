"""Tuning, and what is done with what comes out."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy
import pytest

import ftsurgery


def test_a_run_gives_its_results(tuned):
    run, events = tuned
    assert run.best is run["head"] and run.best.model.is_file()
    assert 0.5 < run.best.held_out_accuracy <= 1
    assert (run.out / "report.html").is_file() and not run.interrupted
    assert ftsurgery.Run.read(run.out) == run
    kinds = {event.kind for event in events}
    assert {"doing", "trial", "trial_end", "strategy_end"} <= kinds
    assert all(0 <= event.done <= event.total for event in events if event.kind == "step")


def test_tables_of_a_run(tuned):
    pandas = pytest.importorskip("pandas")
    run, _ = tuned
    table = run.to_pandas()
    assert isinstance(table, pandas.DataFrame) and list(table.name) == ["head"]
    assert len(run.to_pandas("trials")) == len(run.trials())


def test_what_was_held_out_is_measured_again(tuned, digits):
    run, _ = tuned
    measured = ftsurgery.evaluate(run.best.model, digits, split=run.out / "split.json", part="held_out")
    assert measured.accuracy == pytest.approx(run.best.held_out_accuracy, abs=1e-9)
    assert [c.name for c in measured.classes] == [str(n) for n in range(10)]
    assert sum(c.support for c in measured.classes) == measured.samples


def test_pictures_are_classified_as_paths_and_arrays(tuned, digits, tmp_path):
    run, _ = tuned
    path = sorted((digits / "7").iterdir())[0]
    (one,) = ftsurgery.predict(run.best.model, path, top=10)
    assert len(one.classes) == 10 and one.probability == max(c.probability for c in one.classes)
    image = pytest.importorskip("PIL.Image").open(path)
    for other in ftsurgery.predict(run.best.model, [image, numpy.asarray(image)], top=10):
        assert other.image is None and other.classes == one.classes
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    good, bad = ftsurgery.predict(run.best.model, [path, broken])
    assert good.label == one.label and bad.error and bad.label is None
    with pytest.raises(RuntimeError, match="1 of 1 images"):
        ftsurgery.predict(run.best.model, broken)


def test_arrays_and_lists_are_tuned_on(model, arrays, pictures, tmp_path):
    common = dict(strategies=["head"], epochs=1)
    of_arrays = ftsurgery.tune(model.read_bytes(), arrays, tmp_path / "arrays", **common)
    assert of_arrays.best.held_out_accuracy is not None
    again = ftsurgery.tune(resume=tmp_path / "arrays")
    assert again.strategies == of_arrays.strategies
    of_list = ftsurgery.tune(model, pictures, tmp_path / "list", preprocess="unit", **common)
    assert of_list.best.model.is_file()
    measured = ftsurgery.evaluate(of_arrays.best.model, arrays)
    assert measured.samples == len(arrays[1])


def test_what_a_listener_raises_stops_the_run_and_it_goes_on(model, arrays, tmp_path):
    class Enough(Exception):
        pass

    def listener(event):
        if event.kind == "epoch":
            raise Enough

    with pytest.raises(Enough):
        ftsurgery.tune(model, arrays, tmp_path / "run", strategies=["full"], epochs=3, on_event=listener)
    assert ftsurgery.tune(resume=tmp_path / "run")["full"].model.is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")
def test_ctrl_c_stops_cleanly_and_the_run_goes_on(model, arrays, tmp_path):
    numpy.savez(tmp_path / "data.npz", x=arrays[0], y=arrays[1])
    script = f"""
import ftsurgery
try:
    ftsurgery.tune({str(model)!r}, {str(tmp_path / "data.npz")!r}, {str(tmp_path / "run")!r}, strategies=["full"],
        epochs=100000, on_event=lambda event: event.kind == "epoch" and print("epoch", flush=True))
except KeyboardInterrupt:
    print("interrupted")
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "epoch\n"
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    told, _ = process.communicate(timeout=60)
    assert told.endswith("interrupted\n") and process.returncode == 0
    assert time.monotonic() - began < 30
    assert not list(Path(tmp_path / "run").glob("**/.tmp*"))


def test_a_run_that_fails_raises(model, arrays, tmp_path):
    with pytest.raises(ValueError, match="strategies"):
        ftsurgery.tune(model, arrays, tmp_path / "run", strategies=["nonsense"])
    with pytest.raises(ValueError, match="path, label"):
        ftsurgery.tune(model, [("a.png",)], tmp_path / "run")
