"""What examples/cluster/ holds is what Ray's launcher and KubeRay take."""

import json
import pathlib
import re
import tomllib

import pytest

from keras_transfer.cli import main as command_line
from keras_transfer.runtime.paths import project_root

yaml = pytest.importorskip("yaml", reason="Without PyYAML, which Ray brings.")

FOLDER = project_root() / "examples/cluster"
# What KubeRay 1.x knows, in its types RayJobSpec, RayClusterSpec, HeadGroupSpec and
# WorkerGroupSpec, as far as it is of use here. A name that it does not know it drops.
JOB = {
    *("entrypoint", "runtimeEnvYAML", "shutdownAfterJobFinishes", "submissionMode"),
    *("ttlSecondsAfterFinished", "backoffLimit", "activeDeadlineSeconds"),
    *("entrypointNumCpus", "rayClusterSpec"),
}
CLUSTER = {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
HEAD = {"rayStartParams", "template"}
WORKERS = {*HEAD, "groupName", "replicas", "minReplicas", "maxReplicas"}


@pytest.fixture(scope="module")
def manifests():
    """Return the objects of the manifest by their kind."""
    text = FOLDER.joinpath("kuberay.yaml").read_text(encoding="utf-8")
    return {made["kind"]: made for made in yaml.safe_load_all(text)}


def pods(manifests):
    cluster = manifests["RayJob"]["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in groups]


def test_launcher_takes_the_cluster():
    pytest.importorskip("ray", reason="Without Ray: pip install ray[data,train]")
    import ray.autoscaler
    from ray.autoscaler.sdk import fillout_defaults

    jsonschema = pytest.importorskip("jsonschema")
    text = FOLDER.joinpath("cluster.yaml").read_text(encoding="utf-8")
    schema = pathlib.Path(ray.autoscaler.__file__).with_name("ray-schema.json")
    rules = json.loads(schema.read_text(encoding="utf-8"))
    jsonschema.validate(yaml.safe_load(text), rules)
    # As the launcher goes on with it, with its defaults.
    jsonschema.validate(fillout_defaults(yaml.safe_load(text)), rules)
    with pytest.raises(jsonschema.ValidationError, match="worker_addresses"):
        jsonschema.validate({**yaml.safe_load(text), "worker_addresses": []}, rules)


def test_kuberay_knows_each_name(manifests):
    job = manifests["RayJob"]
    assert job["apiVersion"] == "ray.io/v1"
    cluster = job["spec"]["rayClusterSpec"]
    assert job["spec"].keys() <= JOB
    assert cluster.keys() == CLUSTER
    assert cluster["headGroupSpec"].keys() == HEAD
    for group in cluster["workerGroupSpecs"]:
        assert group.keys() == WORKERS
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        # Ray takes them as words of a command.
        assert all(isinstance(v, str) for v in group["rayStartParams"].values())
    assert all(
        isinstance(v, str) for v in cluster["headGroupSpec"]["rayStartParams"].values()
    )


def test_each_pod_has_resources_and_sees_the_folder(manifests):
    for pod in pods(manifests):
        (container,) = pod["containers"]
        limits = container["resources"]["limits"]
        assert {"cpu", "memory"} <= limits.keys()
        assert limits == container["resources"]["requests"]
        mounted = {
            each["name"]: each["mountPath"] for each in container["volumeMounts"]
        }
        assert mounted == {"shared": "/shared"}
        assert [volume["name"] for volume in pod["volumes"]] == ["shared"]


def test_the_job_types_a_command_that_exists(manifests):
    words = manifests["RayJob"]["spec"]["entrypoint"].split()
    assert words[:3] == ["python", "-m", "keras_transfer"]
    options = command_line.parse(words[3:])
    gpus = [
        int(pod["containers"][0]["resources"]["limits"].get("nvidia.com/gpu", 0))
        for pod in pods(manifests)
    ]
    assert options.gpus_per_worker == max(gpus) == 1
    assert options.data.startswith("/shared/")
    settings = yaml.safe_load(manifests["RayJob"]["spec"]["runtimeEnvYAML"])
    assert settings["env_vars"]["KERAS_TRANSFER_DATA_DIR"].startswith("/shared/")


def test_only_the_cluster_reaches_its_ports(manifests):
    policy = manifests["NetworkPolicy"]["spec"]
    assert policy["policyTypes"] == ["Ingress"]
    assert all(rule["from"] for rule in policy["ingress"])


def test_one_version_of_ray_in_all_files(manifests):
    image = FOLDER.joinpath("Dockerfile").read_text(encoding="utf-8")
    found = re.findall(r"ray:(\d[\d.]+\d)", image)
    images = [pod["containers"][0]["image"] for pod in pods(manifests)]
    found += [image.rpartition(":")[2] for image in images]
    version = manifests["RayJob"]["spec"]["rayClusterSpec"]["rayVersion"]
    assert {*found} == {version}
    extras = tomllib.loads(project_root().joinpath("pyproject.toml").read_text("utf-8"))
    (wanted,) = extras["project"]["optional-dependencies"]["cluster"]
    lowest = re.search(r">=(\d+\.\d+)", wanted).group(1)
    assert version.startswith(f"{lowest}.")
    assert f"Ray {lowest}" in FOLDER.joinpath("cluster.yaml").read_text("utf-8")
