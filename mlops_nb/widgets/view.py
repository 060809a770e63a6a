"""What the live views share: their front end, how errors are said, and what stands for them without a front end."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from mlops_nb.errors import MlopsError
from mlops_nb.widgets.following import Follower
from mlops_nb.widgets.static_form import Bundle

_STATIC = Path(__file__).parent / "static"


def front_end(*names: str) -> str:
    """Return the ES module of a view: its files behind what all views share. It loads nothing else."""
    return "\n".join((_STATIC / f"{name}.js").read_text(encoding="utf-8") for name in ("dom", *names))


def style() -> str:
    """Return the style sheet of the views."""
    return (_STATIC / "views.css").read_text(encoding="utf-8")


class View(anywidget.AnyWidget):
    """A live view: its state is its traits, which the front end and Python change alike.

    Attributes:
        message: What went wrong with what was asked for last, in one line; empty if nothing did.
    """

    message = traitlets.Unicode("").tag(sync=True)
    _follower: Follower | None = None

    def __init__(self, **kwargs: Any) -> None:
        self._lock = threading.RLock()
        super().__init__(**kwargs)
        self.on_msg(self._asked)

    @abstractmethod
    def static_bundle(self) -> Bundle:
        """Return what stands for the view where no widget is drawn: `text/plain` and `text/html`."""

    def actions(self) -> dict[str, Callable[[], object]]:
        """Return what the front end may ask for besides changing traits, by name."""
        return {}

    def _asked(self, _: Any, content: Any, __: Any) -> None:
        name = content.get("do") if isinstance(content, dict) else None
        action = self.actions().get(name) if isinstance(name, str) else None
        if action is not None:
            self.try_to(action)

    def try_to(self, action: Callable[[], object]) -> bool:
        """Do something; say in `message` why it did not go."""
        self.message = ""
        try:
            with self._lock:
                action()
        except MlopsError as error:
            self.message = str(error)
        return not self.message

    def close(self) -> None:
        """Take the view off the pages that show it, and follow no longer."""
        if self._follower is not None:
            self._follower.stop()
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        given: Any = super()._repr_mimebundle_(**kwargs)
        data, metadata = given if isinstance(given, tuple) else (given or {}, {})
        return {**data, **self.static_bundle()}, metadata

    def __repr__(self) -> str:
        return self.static_bundle()["text/plain"]
