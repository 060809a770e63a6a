"""Secrets at rest: encrypted by a key that is not in the database."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_nb.errors import InvalidInput

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

ENV_KEYS = ("MLOPS_NB_WEBHOOK_SECRET_KEY", "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY")
_MAKE = "python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"


class SecretBox:
    """Encrypts and decrypts with the keys of the environment, else with the one in a file, made on first use.

    Args:
        key_file: Where the key is where the environment has none; None: only the environment can have one.
        subject: Whose secrets they are, for messages.
    """

    def __init__(self, key_file: Path | None, *, subject: str = "webhook") -> None:
        self._key_file = key_file
        self._subject = subject
        again = "launch the runner again" if subject == "runner" else f"give the {subject} its secret again"
        self._again = f"Bring the key back ({self._where()}), or {again}."

    def lock(self, secret: str) -> str:
        """Return a secret as it may be kept.

        Raises:
            InvalidInput: If there is no key, and none can be made.
        """
        return self._fernet(create=True).encrypt(secret.encode()).decode()

    def unlock(self, kept: str) -> str:
        """Return a secret that was kept.

        Raises:
            InvalidInput: If the key is missing or another one.
        """
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet(create=False).decrypt(kept.encode()).decode()
        except (InvalidToken, ValueError):
            raise InvalidInput(f"The {self._subject}'s secret was encrypted with another key.", hint=self._again) from None

    def _where(self) -> str:
        return f"{ENV_KEYS[0]}, else {self._key_file}" if self._key_file else ENV_KEYS[0]

    def _fernet(self, *, create: bool) -> MultiFernet:
        from cryptography.fernet import Fernet, MultiFernet

        name = next((name for name in ENV_KEYS if os.environ.get(name)), None)
        keys = os.environ[name].split(",") if name else [self._file_key(create=create)]
        try:
            return MultiFernet([Fernet(key.strip()) for key in keys])
        except ValueError:
            where = name or str(self._key_file)
            raise InvalidInput(f"{where} holds no key that encrypts.", hint=f"Make one: {_MAKE}") from None

    def _file_key(self, *, create: bool) -> str:
        try:
            return self._kept_key(create=create)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise InvalidInput(
                f"The key of the {self._subject}s' secrets, {self._key_file}, cannot be read or made: {why}.",
                hint=f"Let this user read it, or set {ENV_KEYS[0]}.",
            ) from None

    def _kept_key(self, *, create: bool) -> str:
        from cryptography.fernet import Fernet

        if self._key_file is None:
            hint = f"Set {ENV_KEYS[0]} for every server process; make a key: {_MAKE}"
            raise InvalidInput(f"The secret of a {self._subject} is encrypted, and this store has no place for the key.", hint=hint)
        with contextlib.suppress(FileNotFoundError):
            return self._key_file.read_text(encoding="ascii")
        if not create:
            raise InvalidInput(f"The key that the {self._subject}'s secret was encrypted with is missing.", hint=self._again)
        new = self._key_file.with_name(f"{self._key_file.name}.{os.getpid()}")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(Fernet.generate_key().decode())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(new, self._key_file)
        except FileExistsError:  # another process was first: its key counts
            new.unlink()
        except OSError:  # a file system without links
            new.replace(self._key_file)
        new.unlink(missing_ok=True)
        return self._key_file.read_text(encoding="ascii")
