"""Giving up root: what executes notebooks on a rented machine has no rights there but its own."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from pathlib import Path

from mlops_nb.errors import NotFound


def become(user: str, folders: Sequence[Path]) -> dict[str, str]:
    """Go on as another user, for good, and return the variables that are different for it. Only a process without threads may do so.

    Args:
        user: Of this machine. Who is not root stays who they are.
        folders: Become that user's, with the files directly in them.

    Raises:
        NotFound: If there is no such user.
    """
    if os.geteuid() != 0:
        return {}
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise NotFound(f"This machine has no user {user!r} to execute notebooks as.", hint="The start-up script makes it.") from None
    for folder in folders:
        for path in (folder, *folder.iterdir()):
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    os.initgroups(user, account.pw_gid)
    os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
    os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
    changed = {"HOME": account.pw_dir, "USER": user, "LOGNAME": user}
    os.environ.update(changed)
    os.chdir(account.pw_dir)
    return changed
