"""What we ask of Compute Engine, beside what Google's own clients ask for the same machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_nb.clouds.gcp import GcpCloud
from mlops_nb.core.runners import MachineWish
from tests.clouds.gcp_world import PROJECT, GcpWorld
from tests.clouds.renting import INSTALLATION, TOKEN, Notes, an_order
from tests.clouds.test_gcp import NoIdentity

pytestmark = pytest.mark.slow  # they take 15 s to begin
GCLOUD = shutil.which("gcloud")


@pytest.fixture
def world() -> Iterator[GcpWorld]:
    world = GcpWorld()
    yield world
    world.stop()


def our_body(world: GcpWorld) -> Any:
    cloud = GcpCloud(endpoint=world.endpoint, identity=NoIdentity(), pause=0.001)
    offer = cloud.offers(MachineWish(gpu="t4", spot=True))[0]
    order = an_order(permission_set="trainer@p.iam.gserviceaccount.com,scopes=storage-rw", disk_gb=80)
    cloud.create(order, offer, Notes())
    return [call.body for call in world.changing() if call.path.endswith("/instances")][-1]


def ending(url: Any) -> str:
    """Return a URL from its project on: clients differ in the host, and in whether they write it."""
    return str(url).partition("/zones/")[2] or str(url)


@pytest.mark.skipif(GCLOUD is None, reason="gcloud is not installed")
def test_gcloud_asks_for_the_same_machine_in_the_same_words(world: GcpWorld, tmp_path: Path) -> None:
    ours = our_body(world)
    world.instances["us-west1-a"].clear()
    world.disks["us-west1-a"].clear()
    labels = ",".join(f"{key}={value}" for key, value in ours["labels"].items())
    settings = {
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": world.endpoint,
        "CLOUDSDK_CONFIG": str(tmp_path),
        "CLOUDSDK_CORE_PROJECT": PROJECT,
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
    }
    command = [
        *(str(GCLOUD), "compute", "instances", "create", ours["name"], "--zone", "us-west1-a", "--quiet", "--format", "json"),
        *("--machine-type", "n1-standard-4", "--accelerator", "type=nvidia-tesla-t4,count=1"),
        *("--provisioning-model", "SPOT", "--instance-termination-action", "DELETE", "--max-run-duration", "7200s"),
        *("--maintenance-policy", "TERMINATE", "--no-restart-on-failure"),
        *(
            "--create-disk",
            "boot=yes,auto-delete=yes,size=80GB,type=pd-balanced,image-family=ubuntu-2404-lts-amd64,image-project=ubuntu-os-cloud",
        ),
        *("--service-account", "trainer@p.iam.gserviceaccount.com", "--scopes", "storage-rw"),
        *("--labels", labels, "--tags", ours["name"], "--no-shielded-secure-boot", "--shielded-vtpm", "--shielded-integrity-monitoring"),
    ]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=120)
    theirs = [call.body for call in world.changing() if call.path.endswith("/instances")][-1]
    assert done.returncode == 0, f"{done.stderr} {world.problems}"
    assert theirs["name"] == ours["name"] and theirs is not ours
    # gcloud still says it in the old word, too.
    assert {name: value for name, value in theirs["scheduling"].items() if name != "preemptible"} == ours["scheduling"]
    assert theirs["labels"] == ours["labels"] and theirs["tags"] == ours["tags"]
    assert theirs["serviceAccounts"] == ours["serviceAccounts"]
    assert theirs["shieldedInstanceConfig"] == ours["shieldedInstanceConfig"]
    assert ending(theirs["machineType"]) == ending("/" + ours["machineType"])
    assert [ending(one["acceleratorType"]) for one in theirs["guestAccelerators"]] == [
        ending("/" + one["acceleratorType"]) for one in ours["guestAccelerators"]
    ]
    their_disk, our_disk = theirs["disks"][0], ours["disks"][0]
    assert (their_disk["boot"], their_disk["autoDelete"]) == (our_disk["boot"], our_disk["autoDelete"])
    assert int(their_disk["initializeParams"]["diskSizeGb"]) == int(our_disk["initializeParams"]["diskSizeGb"])
    assert their_disk["initializeParams"]["sourceImage"].endswith(our_disk["initializeParams"]["sourceImage"])
    (their_face,), (our_face,) = theirs["networkInterfaces"], ours["networkInterfaces"]
    assert their_face["network"].endswith(our_face["network"])
    assert [one["type"] for one in their_face["accessConfigs"]] == [one["type"] for one in our_face["accessConfigs"]]


def test_google_s_library_for_python_takes_our_body_and_finds_our_machine(world: GcpWorld) -> None:
    compute = pytest.importorskip("google.cloud.compute_v1")
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials

    ours = our_body(world)
    parsed = compute.Instance.from_json(json.dumps(ours), ignore_unknown_fields=False)
    assert parsed.scheduling.max_run_duration.seconds == 7200 and parsed.scheduling.provisioning_model == "SPOT"
    options = ClientOptions(api_endpoint=f"http://127.0.0.1:{world.port}")
    client = compute.InstancesClient(credentials=AnonymousCredentials(), client_options=options)
    wish = compute.AggregatedListInstancesRequest(project=PROJECT, filter=f'labels.mlops-nb-installation = "{INSTALLATION}"')
    found = [one.name for _, scope in client.aggregated_list(request=wish) for one in scope.instances]
    assert found == [f"mlops-nb-{TOKEN}"]
