"""Do what the Dockerfile says, in a fresh venv, where there is no Docker.

    python -m tests.helpers.replay_dockerfile CONTEXT FOLDER PHOTO

CONTEXT is what `docker build` is given; what it makes lies in FOLDER. Its service is
then started as it says, on a port of its own, asked for PHOTO, and stopped.
"""

import json
import os
import pathlib
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator

import requests

# What has no meaning without a container.
PASSED_OVER = ("FROM", "USER", "EXPOSE", "WORKDIR")
SECONDS = 60


def main(arguments: list[str]) -> None:
    """Replay the Dockerfile of a context and ask its service for a photo."""
    context, folder, photo = map(pathlib.Path, arguments)
    shutil.rmtree(folder, ignore_errors=True)
    service = folder / "service"
    service.mkdir(parents=True)
    venv.create(folder / "venv", with_pip=True, symlinks=True)
    token, programs = secrets.token_urlsafe(), (folder / "venv" / "bin").absolute()
    # As in a container: nothing of this process but where packages come from.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "KERAS", "TF_"))
    } | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "KERAS_TRANSFER_TOKEN": token,
    }
    steps = dict.fromkeys(("CMD", "HEALTHCHECK"))
    for word, rest in instructions((context / "Dockerfile").read_text("utf-8")):
        if word == "COPY":
            *sources, target = rest.split()
            copy([context / each for each in sources], service / target)
        elif word == "RUN":
            print(f"RUN {rest}", flush=True)
            subprocess.run(rest, shell=True, cwd=service, env=environment, check=True)
        elif word in steps:
            steps[word] = json.loads(rest.removeprefix("CMD "))
        elif word not in PASSED_OVER:
            raise ValueError(f"This cannot be replayed. Received: {word} {rest}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command, health = (
        [part.replace("8000", port) for part in steps[name]] for name in steps
    )
    print("CMD", *command, flush=True)
    process = subprocess.Popen(command, cwd=service, env=environment)
    try:
        wait_until_ready(process, health, environment)
        print(ask(f"http://127.0.0.1:{port}", photo, token), flush=True)
        has_tensorflow = "import importlib.util as u; print(u.find_spec('tensorflow'))"
        found = subprocess.check_output(
            ["python", "-c", has_tensorflow], cwd=folder, env=environment, text=True
        )
        assert found.strip() == "None", "the image should hold no TensorFlow"
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(SECONDS)
    assert status == 0, f"it should end with 0 when it is stopped, not with {status}"


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield each instruction of a Dockerfile: its word, and the rest of its line."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word.upper(), rest.strip()


def copy(sources: list[pathlib.Path], target: pathlib.Path) -> None:
    """Copy as COPY does: files into a folder, and what is in a folder."""
    for source in sources:
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target, ignore=ignored, dirs_exist_ok=True)
        else:
            shutil.copy(source, target)


def wait_until_ready(process, health: list[str], environment: dict) -> None:
    """Ask HEALTHCHECK's command until it is content."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        done = subprocess.run(health, env=environment, stderr=subprocess.DEVNULL)
        if done.returncode == 0:
            return
        time.sleep(0.5)
    raise RuntimeError(f"The service is not ready. Received: {process.poll()}")


def ask(address: str, photo: pathlib.Path, token: str) -> dict:
    """Return the service's answer to a photo, which it gives with the token alone."""
    files = {"images": (photo.name, photo.read_bytes())}
    refused = requests.post(f"{address}/predict", files=files, timeout=SECONDS)
    assert refused.status_code == 401, refused.text
    headers = {"Authorization": f"Bearer {token}"}
    found = requests.post(
        f"{address}/predict", files=files, headers=headers, timeout=SECONDS
    )
    found.raise_for_status()
    return found.json()


if __name__ == "__main__":
    main(sys.argv[1:])
