"""What an operation is, and how a function becomes one.

    @operation("runs.get", "GET", "/api/v1/runs/{run_id}", permission=Permission.READ)
    def get_run(context: Context, request: RunId) -> RunAnswer:
        '''Return one run.'''

The types of request and answer are those of the function, the summary is the first line of its docstring.
`{name}` in a path is one segment, `{name...}` the rest of the path; both fill the request's field of that name.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Any, Generic, TypeVar

import msgspec

from mlops_nb.api.project import ServedProject
from mlops_nb.api.transfer import CheckedUpload
from mlops_nb.core.runners import Runner
from mlops_nb.errors import InvalidInput, NotSupported
from mlops_nb.runners.hosting import RunnerHost
from mlops_nb.serving.endpoints import Endpoints
from mlops_nb.store.artifacts.base import OpenedFile
from mlops_nb.store.base import ServedStore

R = TypeVar("R", bound=msgspec.Struct)
A = TypeVar("A")


class Permission(StrEnum):
    """What the caller must be allowed to do: the actions of Jupyter's authorizers.

    `TICKET` is for the one exchange that a machine begins with: who asks is not known yet, the request itself lets in.
    """

    READ = "read"
    WRITE = "write"
    TICKET = "ticket"


class AgentScope(StrEnum):
    """What of an operation the agent on a runner's machine may do with its own token; see `api.agents`."""

    RUNNER = "runner"  # what has its runner's id
    JOB = "job"  # what has the id of a job of its runner
    RUN = "run"  # what has the id of a run of its jobs, or of one that it begins
    RUNS = "runs"  # the same for several
    EXECUTION = "execution"  # a search for the runs of one of its jobs
    NEW_RUN = "new run"  # a run that is then its own
    MODEL = "model"  # what has the id of a logged model of its runs
    NEW_MODEL = "new model"  # a logged model of one of its runs
    FILE = "file"  # a path of the artifact proxy within its runs and their models
    NEW_NAME = "new name"  # a registered model that is not there yet
    VERSION = "version"  # a version that was made of its runs or their models
    NEW_VERSION = "new version"  # the same, to be made
    ANY = "any"  # all of it


class Nothing(msgspec.Struct, kw_only=True):
    """A request without fields."""


class Stream(msgspec.Struct, kw_only=True):
    """An answer of bytes that users put there. `file_name` decides how a browser may show it.

    Of a `file` any part can be asked for; the mount closes it. `chunks` are bytes that exist only on their way.
    """

    chunks: Iterator[bytes] = iter(())
    file: OpenedFile | None = None
    file_name: str


class JsonBytes(msgspec.Struct, Generic[A], kw_only=True):
    """An answer that has been written already: the bytes of the JSON of an `A`."""

    body: bytes


class JsonStream(msgspec.Struct, Generic[A], kw_only=True):
    """An answer that is too large to be made whole: the bytes of the JSON of an `A`, in pieces."""

    chunks: Iterator[bytes]


class Context:
    """What an operation works on: the project's store, who asks, and the bytes that came with an upload.

    Threads: belongs to one call.

    Attributes:
        runner: Whose agent asks by its own token, admitted by the operation's scope; None: somebody else asks.
    """

    def __init__(
        self,
        project: ServedProject,
        *,
        user: str = "",
        permission: Permission,
        upload: CheckedUpload | None = None,
        runner: Runner | None = None,
    ) -> None:
        self.project = project
        self.user = user
        self.runner = runner
        self._permission = permission
        self._upload = upload

    @property
    def store(self) -> ServedStore:
        """The project's store. Only a writing operation makes one where there is none.

        Raises:
            StoreError: If it cannot be opened.
        """
        return self.project.store(create=self._permission is not Permission.READ)

    @property
    def endpoints(self) -> Endpoints:
        """The model servers of the project.

        Raises:
            NotSupported: If this server runs none.
        """
        if self.project.endpoints is None:
            raise NotSupported("This server runs no models.", hint="Ask the Jupyter server of the project, or run: mlops-nb models serve")
        return self.project.endpoints

    @property
    def runner_host(self) -> RunnerHost:
        """What launches and ends the machines of the project.

        Raises:
            NotSupported: If this server does not.
        """
        if self.project.runner_host is None:
            raise NotSupported(
                "This server launches no machines.", hint="Use the command line where the cloud's keys are: mlops-nb runner launch"
            )
        return self.project.runner_host

    @property
    def upload(self) -> CheckedUpload:
        """The body of the request, at its beginning. Reading it to the end checks it.

        Raises:
            InvalidInput: If there is none.
        """
        if self._upload is None:
            raise InvalidInput("The request has no body.")
        return self._upload


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation.

    Attributes:
        upload: Its body is a file and reaches `Context.upload`, not the request.
        grouped: It may share a transaction with other writes: it writes to the database and touches no files.
        agent: What of it the agents of runners may do with their own tokens; None, which is the default: nothing.
        slow: It may wait for clouds or forges, for minutes: it must not take a thread from those that read.
    """

    name: str
    methods: tuple[str, ...]
    paths: tuple[str, ...]
    permission: Permission
    summary: str
    request: type[msgspec.Struct]
    answer: Any
    function: Callable[[Context, Any], Any]
    upload: bool = False
    grouped: bool = False
    agent: AgentScope | None = None
    slow: bool = False

    @property
    def is_write(self) -> bool:
        return self.permission is not Permission.READ

    @property
    def routes(self) -> list[tuple[str, str]]:
        """Every method and path that leads here."""
        return [(method, path) for path in self.paths for method in self.methods]


def _form_of(answer: Any) -> Any:
    """Return the type whose JSON is answered, be it in pieces or written already."""
    return typing.get_args(answer)[0] if typing.get_origin(answer) in (JsonBytes, JsonStream) else answer


def operation(
    name: str,
    method: str | Sequence[str],
    path: str | Sequence[str],
    *,
    permission: Permission,
    upload: bool = False,
    files: bool = False,
    agent: AgentScope | None = None,
    slow: bool = False,
) -> Callable[[Callable[[Context, R], A]], Operation]:
    """Make a function an operation.

    Args:
        name: Unique, dotted, as in the OpenAPI file.
        method: One HTTP method or several.
        path: One path template or several, below the mount.
        permission: What the caller must be allowed to do; there is no default.
        upload: The body is a file.
        files: It reads or writes files, or waits for something else than the database.
        agent: What of it the agents of runners may do with their own tokens.
        slow: It waits for clouds or forges, and touches files or not.
    """

    def register(function: Callable[[Context, R], A]) -> Operation:
        hints = typing.get_type_hints(function)
        request = hints["request"]
        return Operation(
            name=name,
            methods=(method,) if isinstance(method, str) else tuple(method),
            paths=(path,) if isinstance(path, str) else tuple(path),
            permission=Permission(permission),
            summary=(function.__doc__ or "").strip().partition("\n")[0].rstrip("."),
            request=request,
            answer=_form_of(hints["return"]),
            function=function,
            upload=upload,
            grouped=permission is Permission.WRITE and not upload and not files and not slow,
            agent=agent,
            slow=slow,
        )

    return register
