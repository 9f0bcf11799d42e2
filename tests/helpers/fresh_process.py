"""Run scripts in processes in which Keras is imported, and nothing has run.

Importing Keras and TensorFlow takes 5 s of a core and is the same for every script, so
one process does it, and each script runs in a fork of that process: TensorFlow starts
no thread and reads no device before it is used. What must be seen from the first line
of a process on, such as what an import brings, needs a process of its own.
"""

import atexit
import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import traceback
import types


def run(script: str, *arguments, cwd=None) -> subprocess.CompletedProcess:
    """Run a script with these arguments, in a folder, in the environment of now.

    Args:
        script: The code.
        *arguments: What it finds in `sys.argv[1:]`.
        cwd: The folder. Defaults to the present one.

    Returns:
        The status as `returncode`, negative for a signal, and `stdout` and `stderr` as
        text.
    """
    words = [sys.executable, "-c", script, *map(str, arguments)]
    # Elsewhere a fork may not use what the system's libraries have started.
    if sys.platform != "linux":
        return subprocess.run(words, cwd=cwd, capture_output=True, text=True)
    with tempfile.TemporaryDirectory() as folder:
        outputs = [pathlib.Path(folder, name) for name in ("stdout", "stderr")]
        status = _asked(
            {
                "script": script,
                "words": words[2:],
                "folder": str(pathlib.Path(cwd or "").absolute()),
                "variables": dict(os.environ),
                "outputs": list(map(str, outputs)),
            }
        )
        texts = [path.read_text(errors="backslashreplace") for path in outputs]
    print(texts[1], file=sys.stderr)  # pytest shows it where a test fails.
    return subprocess.CompletedProcess(words, status, *texts)


def _asked(request: dict) -> int:
    server = _server()
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    return int(server.stdout.readline())


@functools.cache
def _server() -> subprocess.Popen:
    server = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(server.communicate)  # Nothing more to read ends it.
    return server


def _serve() -> None:
    import gc

    import keras  # noqa: F401

    # As with `python -c`.
    sys.path[0] = ""
    # As in conftest.py.
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _do(**json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _do(script, words, folder, variables, outputs):
    for number, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = words
    sys.modules["__main__"] = main = types.ModuleType("__main__")
    status = 0
    try:
        exec(compile(script, "<script>", "exec"), vars(main))
    except SystemExit as stop:
        status = stop.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve()
