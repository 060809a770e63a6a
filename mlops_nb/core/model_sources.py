"""Where the files of a model version come from, as clients say it: checked and brought into one form, never followed.

    runs:/<run id>/<path>                     a folder of a run
    mlflow-artifacts:/<experiment>/…          the same by its place, or a folder of a logged model
    models:/m-<id>                            a logged model
    models:/<name>/<version>                  another version, also as /<stage>, /latest or @<alias>
    s3://bucket/key                           a cloud, by one of `CLOUDS`

Anything else is refused: paths of a machine, addresses of servers, and whatever a reader of the URI could take for a way up
(`..`, encoded or not).
"""

from __future__ import annotations

import re
from urllib.parse import unquote

import msgspec

from mlops_nb.core.registry import Stage, check_model_name, is_latest
from mlops_nb.errors import InvalidInput

CLOUDS = frozenset({"s3", "s3a", "gs", "gcs", "wasb", "wasbs", "abfs", "abfss", "adl", "oci", "oss", "dbfs"})
PROMPT_SOURCES = frozenset({"dummy-source", "prompt-template"})
"""What MLflow's clients write where a prompt has no source."""

_MAX_LENGTH = 4000
_MAX_DECODINGS = 5
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_LOGGED_MODEL = re.compile(r"m-\w[\w-]*")
_SEPARATORS = re.compile(r"[/\\?#&=;]")
_RELATIVE = (
    "If supplying a source as an http, https, local file path, ftp, objectstore, or mlflow-artifacts uri, an absolute path must be "
    "provided without relative path references present. Please provide an absolute path."
)
_LOCAL = (
    "To use a local path as a model version source, the run_id request parameter has to be specified and the local path has to be "
    "contained within the artifact directory of the run specified by the run_id."
)


class RunSource(msgspec.Struct, frozen=True, kw_only=True):
    """A folder of a run. `uri` is canonical, here and below."""

    uri: str
    run_id: str


class ProxySource(msgspec.Struct, frozen=True, kw_only=True):
    """A folder below the artifact proxy, which must be one of a run's or a logged model's."""

    uri: str

    def is_within(self, root: str) -> bool:
        """Return whether it is `root` or below it."""
        return self.uri == root or self.uri.startswith(root + "/")


class LoggedModelSource(msgspec.Struct, frozen=True, kw_only=True):
    """A logged model."""

    uri: str
    model_id: str


class VersionSource(msgspec.Struct, frozen=True, kw_only=True):
    """Another version, by one of number, alias and stage; by none of them: the newest."""

    name: str
    number: int | None = None
    alias: str | None = None
    stage: Stage | None = None


class CloudSource(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a cloud."""

    uri: str


Source = RunSource | ProxySource | LoggedModelSource | VersionSource | CloudSource


def invalid_source(source: str, why: str) -> InvalidInput:
    """Return the error for a source that cannot be right."""
    shown = source if len(source) <= 300 else source[:300] + "…"
    return InvalidInput(f"Invalid model version source: '{shown}'. {why}", hint="Use runs:/, models:/ or a cloud such as s3://.")


def foreign_source(source: str, parameter: str) -> InvalidInput:
    """Return the error for a source that is not part of what `run_id` or `model_id` names."""
    return invalid_source(source, f"The {parameter} request parameter must identify the resource that contains the source.")


def parse_source(text: str) -> Source:
    """Return what a source names.

    Raises:
        InvalidInput: If it is none of the forms above.
    """
    match = _SCHEME.match(text)
    scheme, rest = (match[1].lower(), text[match.end() :]) if match else ("", text)
    if len(text) > _MAX_LENGTH or _leads_astray(rest):
        raise invalid_source(text, _RELATIVE)
    if scheme in ("", "file"):
        raise invalid_source(text, _LOCAL)
    authority, path = _split(rest)
    if scheme == "runs":
        return _run(text, authority, path)
    if scheme == "models":
        return _model(text, authority, path)
    if scheme == "mlflow-artifacts" and not authority:
        parts = [part for part in path.split("/") if part]
        if not parts:
            raise foreign_source(text, "run_id")
        return ProxySource(uri=f"mlflow-artifacts:/{'/'.join(parts)}")
    if scheme not in CLOUDS:
        raise InvalidInput(
            f"'source' cannot use the '{scheme[:40]}' scheme: the '{scheme[:40]}' scheme addresses a host other than the tracking server's "
            "configured artifact storage.",
            hint=f"Use runs:/, models:/ or one of {', '.join(sorted(CLOUDS))}.",
        )
    return _cloud(text, scheme, authority, path)


def _leads_astray(rest: str) -> bool:
    """Return whether a reader, after decoding it as often as it likes, could see a way up or a break in it."""
    for _ in range(_MAX_DECODINGS):
        if rest != rest.strip() or any(ord(c) < 32 or ord(c) == 127 for c in rest):
            return True
        if any(part in (".", "..") for part in _SEPARATORS.split(rest)):
            return True
        decoded = unquote(rest, errors="replace")
        if decoded == rest:
            return False
        rest = decoded
    return True


def _split(rest: str) -> tuple[str, str]:
    if not rest.startswith("//"):
        return "", rest
    authority, slash, path = rest[2:].partition("/")
    return authority, slash + path


def _run(text: str, authority: str, path: str) -> RunSource:
    parts = [part for part in path.split("/") if part]
    if authority or not parts:
        raise foreign_source(text, "run_id")
    return RunSource(uri=f"runs:/{'/'.join(parts)}", run_id=parts[0])


def _model(text: str, authority: str, path: str) -> LoggedModelSource | VersionSource:
    if authority:
        raise invalid_source(text, "Registered model sources must use the active model registry.")
    name, slash, last = path.lstrip("/").partition("/")
    if not slash:
        name, at, alias = name.rpartition("@")
        if at and name and alias:
            return VersionSource(name=check_model_name(name), alias=alias)
        if not at and _LOGGED_MODEL.fullmatch(alias):
            return LoggedModelSource(uri=f"models:/{alias}", model_id=alias)
    elif name and last.isascii() and last.isdigit():
        return VersionSource(name=check_model_name(name), number=int(last))
    elif name and is_latest(last):
        return VersionSource(name=check_model_name(name))
    else:
        for stage in Stage:
            if name and stage.value.lower() == last.lower():
                return VersionSource(name=check_model_name(name), stage=stage)
    raise foreign_source(text, "model_id")


def _cloud(text: str, scheme: str, authority: str, path: str) -> CloudSource:
    user, at, _ = authority.rpartition("@")
    if at and ":" in user:
        raise InvalidInput("A model version source holds no password.", hint="Give the clients credentials of their own.")
    if not path.strip("/") or not (authority or scheme == "dbfs"):
        raise invalid_source(text, _RELATIVE)
    place = f"//{authority}{path}" if authority else path
    return CloudSource(uri=f"{scheme}:{place}")
