"""What a machine of Azure has printed."""

from __future__ import annotations

from urllib.parse import urlsplit

from mlops_nb.clouds.azure.arm import PUBLIC, Arm
from mlops_nb.clouds.azure.errors import NotThere
from mlops_nb.clouds.azure.machines import group_of
from mlops_nb.clouds.base import CloudUnreachable, WishRefused
from mlops_nb.core.runners import Resource


def console(arm: Arm, machine: Resource, most: int) -> str:
    """Return the end of the machine's serial console, at most so many bytes; "" where Azure has nothing."""
    from mlops_nb.outgoing import OutgoingError, session

    group, name = group_of(machine.id), machine.id.rpartition("/")[2]
    vms = arm.compute.virtual_machines
    try:
        data = arm.ask("Reading what the machine has printed", lambda: vms.retrieve_boot_diagnostics_data(group, name))
    except (NotThere, WishRefused):  # no machine, or none that has been up yet
        return ""
    url = data.serial_console_log_blob_uri
    if not url:
        return ""
    # The address is signed: it is not to be shown. A stand-in's log lies beside it.
    own = [urlsplit(url).netloc] if arm.endpoint != PUBLIC else []
    try:
        with session(retries=2, allowed_hosts=own) as asking:
            answer = asking.get(url, headers={"Range": f"bytes=-{most}"}, verify=arm.verify or True)
    except OutgoingError as error:
        raise CloudUnreachable("What the machine has printed cannot be read now.", hint="Try again later.") from error
    return answer.content[-most:].decode(errors="replace") if answer.ok else ""
