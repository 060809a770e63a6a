"""Start-up scripts are sound shell, fit into what clouds take, and give nothing away."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import random
import re
import shutil
import subprocess
import sys
import urllib.parse
from pathlib import Path

import jsonschema
import pytest
import yaml

from mlops_nb.core.runners import AgentWish
from mlops_nb.errors import InvalidInput
from mlops_nb.runners.startup import pins
from mlops_nb.runners.startup.generating import Access, Installation, startup_script
from tests.machine.runners import NOW, SERVER, TICKET, runner

SCHEMA = Path(__file__).parent / "contracts" / "cloud-config.json"
SHELLCHECK = Path(sys.executable).with_name("shellcheck")
ACCESS = Access(server=SERVER, ticket=TICKET)
INSTALLATION = Installation(package="mlops-nb==0.9.0")
HOSTILE = "echo \"$HOME\" '\\'' `id`\nMLOPS_NB_END_OF_FILE\n\tcat <<'EOF'\n€ \\n\nEOF\n"


def shell_of(script: str) -> str:
    """Return the shell program in a start-up script, unpacked."""
    program = str(yaml.safe_load(script)["bootcmd"][0]) if script.startswith("#cloud-config") else script
    packed = re.search(r"<<'MLOPS_NB_END_OF_FILE' \| gzip -dc >.\$file. \|\| exit 1\n(.*?)\nMLOPS_NB_END_OF_FILE\n", program, re.DOTALL)
    return gzip.decompress(base64.b64decode(packed[1])).decode() if packed else program


def shellcheck(program: str, *options: str) -> str:
    done = subprocess.run([SHELLCHECK, "-s", "sh", *options, "-"], input=program, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


@pytest.mark.parametrize("cloud", ["aws", "gcp", "azure", "kubernetes", "ssh", "local"])
def test_shellcheck_finds_nothing_in_the_script_of_any_cloud(cloud: str) -> None:
    agent = AgentWish(kind="gitlab", repository="https://gitlab.com/g/p")
    script = startup_script(runner(cloud, gpus=1, agent=agent, startup_script=HOSTILE), ACCESS, INSTALLATION, now=NOW)
    program = shell_of(script)
    assert "gpu-1" in program
    assert shellcheck(program if program.startswith("#!") else f"#!/bin/sh\n{program}") == ""


@pytest.mark.parametrize("name", ["switch.sh", "prepare.sh"])
def test_shellcheck_finds_nothing_in_the_scripts_of_a_machine(name: str) -> None:
    from mlops_nb.runners import startup

    assert shellcheck((Path(startup.__file__).parent / name).read_text()) == ""


def test_shellcheck_would_find_something() -> None:
    assert "SC2086" in shellcheck("#!/bin/sh\nrm $1\n")


@pytest.mark.parametrize("cloud", ["aws", "gcp", "azure"])
def test_what_rented_machines_get_is_valid_for_cloud_init(cloud: str, tmp_path: Path) -> None:
    script = startup_script(runner(cloud, startup_script=HOSTILE), ACCESS, INSTALLATION, now=NOW)
    assert script.startswith("#cloud-config\n")
    document = yaml.safe_load(script)
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"bootcmds": document["bootcmd"]}, json.loads(SCHEMA.read_text()))
    if program := shutil.which("cloud-init"):
        (tmp_path / "user-data").write_text(script)
        done = subprocess.run([program, "schema", "--config-file", tmp_path / "user-data"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_plain_machine_fits_into_the_smallest_limit_of_a_cloud_with_room_for_a_script() -> None:
    script = startup_script(runner(startup_script="apt-get install -y graphviz\n" * 200), ACCESS, INSTALLATION, now=NOW)
    assert len(script.encode()) < 12_288
    assert "graphviz" in shell_of(script)


def test_a_start_up_script_that_is_too_long_is_refused_with_what_to_do() -> None:
    noise = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=20_000))
    with pytest.raises(InvalidInput, match=r"aws takes 16,384.*--cloud-startup-script"):
        startup_script(runner(startup_script=f"echo {noise}"), ACCESS, INSTALLATION, now=NOW)
    assert len(startup_script(runner("azure", startup_script=f"echo {noise}"), ACCESS, INSTALLATION, now=NOW)) < 65_536


def test_no_machine_fetches_its_secret_without_encryption() -> None:
    with pytest.raises(InvalidInput, match="without encryption"):
        startup_script(runner(), Access(server="http://10.0.0.5:8888/mlops", ticket=TICKET), INSTALLATION, now=NOW)
    for server in ("http://127.0.0.1:8888", "http://localhost:1"):
        assert server in startup_script(runner("ssh"), Access(server=server, ticket=TICKET), INSTALLATION, now=NOW)


def test_the_secrets_of_a_machine_are_not_in_what_is_printed_of_it() -> None:
    access = Access(server=SERVER, ticket=TICKET, mailbox="https://bucket/x?sig=abc", secret="c2VjcmV0")
    assert not any(word in repr(access) for word in (TICKET, "sig=abc", "c2VjcmV0"))


def test_the_time_limit_of_a_machine_is_what_its_runner_has_left() -> None:
    assert "max=14400\n" in shell_of(startup_script(runner(seconds=14_400), ACCESS, INSTALLATION, now=NOW))
    assert "max=14000\n" in shell_of(startup_script(runner(seconds=14_400), ACCESS, INSTALLATION, now=NOW + 400))
    assert "max=1\n" in shell_of(startup_script(runner(seconds=60), ACCESS, INSTALLATION, now=NOW + 400))


def test_a_machine_gets_a_driver_docker_and_closed_metadata_only_where_they_belong() -> None:
    plain = shell_of(startup_script(runner(), ACCESS, INSTALLATION, now=NOW))
    assert "gpu=''\n" in plain and "docker=''\n" in plain and "close_metadata=yes\n" in plain
    gitlab = AgentWish(kind="gitlab", repository="https://gitlab.com/g/p")
    full = shell_of(startup_script(runner(gpus=1, agent=gitlab, permission_set="arn:aws:x"), ACCESS, INSTALLATION, now=NOW))
    assert "gpu=yes\n" in full and "docker=yes\n" in full and "close_metadata=''\n" in full


def test_the_same_runner_gets_the_same_script() -> None:
    first, second = (startup_script(runner(startup_script="x" * 20_000), ACCESS, INSTALLATION, now=NOW) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("architecture", sorted(pins.UV))
def test_the_pin_of_uv_is_of_one_file_and_its_version(architecture: str) -> None:
    url, digest = pins.UV[architecture]
    parts = urllib.parse.urlsplit(url)
    first, second, rest, name = parts.path.removeprefix("/packages/").split("/")
    assert parts.scheme == "https" and name.startswith(f"uv-{pins.UV_VERSION}-") and len(digest) == 64
    assert (len(first), len(second), len(first + second + rest)) == (2, 2, 2 * hashlib.blake2b(digest_size=32).digest_size)
    assert ("x86_64" in name) is (architecture == "x64") and ("aarch64" in name) is (architecture == "arm64")
