"""Note, in the kernel of a lesson, on what its time goes.

A thread looks at the stack of the main thread a hundred times a second. Each look
counts for the time since the last one, of the clock and of the processor, and belongs
to the first phase of `PHASES` that has a function on the stack: so nothing counts
twice, and neither the lesson nor what it calls is changed.
"""

import collections
import json
import pathlib
import sys
import threading
import time

SECONDS_BETWEEN = 0.01
# The first that fits a frame of the stack counts: what a drawing imports is import. A
# function is a part of a path, and a name or nothing for all that is in there.
PHASES = {
    "import": [("<frozen importlib", "")],
    "drawing figures": [("matplotlib/", ""), ("matplotlib_inline/", "")],
    "tracing": [
        ("tensorflow/python/framework/func_graph", "func_graph_from_py_func"),
        ("polymorphic_function/tracing_compilation", "trace_function"),
        ("tensorflow/python/framework/convert_to_constants", ""),
        ("tensorflow/python/grappler/", ""),
        ("keras/src/export/", ""),
        ("openvino/", ""),
    ],
    "weights read, hashed, written": [
        ("keras/src/saving/saving_lib", ""),
        ("keras/src/saving/saving_api", ""),
        ("backbones/weights/", ""),
        ("features/cache.py", "checksums"),
        ("verify/weights", ""),
    ],
    "building networks": [
        ("keras/src/models/functional", "__init__"),
        ("keras/src/models/model", "__new__"),
        ("keras/src/models/cloning", ""),
        ("keras/src/applications/", ""),
        ("keras/src/layers/layer", "build_wrapper"),
        ("keras/src/ops/operation", "symbolic_call"),
        ("keras/src/ops/operation", "from_config"),
        ("keras/src/optimizers/", "build"),
        ("backbones/", ""),
        ("classifier/head", "build_classifier"),
        ("models/folding", ""),
        ("models/blocks", ""),
        ("models/precision", ""),
    ],
    "loading images": [
        ("tensorflow/python/data/", ""),
        ("keras_transfer/samples/", ""),
        ("keras_transfer/data/", ""),
        ("PIL/", ""),
    ],
    "computing": [
        ("tensorflow/python/eager/", ""),
        ("keras/src/trainers/", ""),
        ("keras/src/backend/tensorflow/trainer", ""),
        ("keras/src/ops/", ""),
        ("sklearn/", ""),
        ("scipy/", ""),
        ("numpy/", ""),
        ("keras_transfer/comparison/", ""),
        ("keras_transfer/", ""),
    ],
}
IDLE = "the kernel itself"
REST = "the rest"


class Watch:
    """Watch the main thread of this process.

    Attributes:
        seconds: For each phase, a pair of clock and processor seconds.
        stacks: Processor seconds of each phase and stack, the outermost call first.
    """

    def __init__(self):
        self.seconds = collections.defaultdict(lambda: [0.0, 0.0])
        self.stacks = collections.Counter()
        self._names, self._known = [*PHASES], {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self, path: str) -> None:
        """Stop watching, and write what was seen into a file."""
        self._stopped.set()
        self._thread.join()
        noted = {"seconds": self.seconds, "stacks": self.stacks}
        pathlib.Path(path).write_text(json.dumps(noted), "utf-8")

    def _look(self):
        main = threading.main_thread().ident
        before = time.perf_counter(), time.process_time()
        while not self._stopped.wait(SECONDS_BETWEEN):
            phase, stack = self._seen(sys._current_frames()[main])
            now = time.perf_counter(), time.process_time()
            for kind in range(2):
                self.seconds[phase][kind] += now[kind] - before[kind]
            self.stacks[f"{phase};{stack}"] += now[1] - before[1]
            before = now

    def _seen(self, frame) -> tuple[str, str]:
        """Return the phase of a stack, and its calls of a cell and what is below."""
        found, calls = len(self._names), []
        while frame is not None and frame.f_code.co_name != "run_code":
            code = frame.f_code
            if code not in self._known:
                self._known[code] = self._number(code), _label(code)
            number, label = self._known[code]
            found = min(found, number)
            calls.append(label)
            frame = frame.f_back
        if found < len(self._names):
            return self._names[found], ";".join(reversed(calls))
        # Figures are drawn after a cell.
        return (IDLE, "") if frame is None else (REST, ";".join(reversed(calls)))

    def _number(self, code) -> int:
        path = code.co_filename.replace("\\", "/")
        for number, functions in enumerate(PHASES.values()):
            for part, name in functions:
                if part in path and name in ("", code.co_name):
                    return number
        return len(self._names)


def _label(code) -> str:
    path = pathlib.PurePath(code.co_filename)
    return f"{code.co_name} ({path.parent.name}/{path.name})"
