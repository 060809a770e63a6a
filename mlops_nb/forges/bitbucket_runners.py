"""Runners of Bitbucket Cloud's pipelines, of a repository or a workspace.

Source: "Pipelines: runners" in developer.atlassian.com/cloud/bitbucket/rest. Bitbucket does not say whether a runner has a step,
and which: that is seen on its machine. A step cannot be run again by itself either, only the whole pipeline.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Unpack

from mlops_nb.core.runners import TAG_INSTALLATION, TAG_RUNNER
from mlops_nb.forges.base import ForgeNotFound, PermissionMissing, RequestRefused
from mlops_nb.forges.bitbucket import Bitbucket, headers
from mlops_nb.forges.client import PER_PAGE, ForgeClient, PatienceOptions, part
from mlops_nb.forges.context import Context
from mlops_nb.forges.runners import ForgeAgent, ForgeJob, Place, Registration, Rerun, marks, registered, tags_in, word_of
from mlops_nb.forges.tokens import Secret, Token

NAME_CHARACTERS: Final = 50
LABEL_CHARACTERS: Final = 100
"""Nowhere documented; ours have 54 at most."""
REQUIRED: Final = "self.hosted"
_LABEL = re.compile(r"[a-z0-9]+(?:\.[a-z0-9]+)*")
_UUID = re.compile(r"\{[0-9a-fA-F-]{36}\}")


class BitbucketRunners:
    """The runners of one repository or workspace on Bitbucket. See `runners.RunnerForge` for the contract."""

    def __init__(self, place: Place, token: Token, **patience: Unpack[PatienceOptions]) -> None:
        self.place = place
        self.client = ForgeClient("bitbucket", place.api_url, headers(token), source=token.source, **patience)
        self._token, self._patience = token, patience
        above = "repositories" if place.level == "repository" else "workspaces"
        self._base = f"{above}/" + "/".join(part(one) for one in place.path.split("/"))
        self._runners = f"{self._base}/pipelines-config/runners"

    def agents(self, *, installation: str = "", labels: Sequence[str] = (), name: str = "") -> list[ForgeAgent]:
        """Return the runners of the place that carry an installation's mark, all these labels and this name."""
        what = f"list the runners of {self.place.path}"
        found = [_agent(item) for item in self.client.pages(self._runners, what=what, params={"pagelen": PER_PAGE}, items="values")]
        return [
            one
            for one in found
            if (not installation or one.tags.get(TAG_INSTALLATION) == word_of(installation))
            and set(labels) <= set(one.labels)
            and name in ("", one.name)
        ]

    def agent(self, id: str) -> ForgeAgent | None:
        """Return one runner, or None if it is gone."""
        try:
            return _agent(self.client.get(f"{self._runners}/{part(id)}", what=f"show the runner {id}"))
        except ForgeNotFound:
            return None

    def register(self, name: str, labels: Sequence[str], tags: Mapping[str, str], *, single: bool = False) -> Registration:
        """Create a runner and return it with the OAuth client that it signs in by. Bitbucket shows its secret once."""
        for label in labels:
            if not _LABEL.fullmatch(label) or len(label) > LABEL_CHARACTERS:
                raise RequestRefused(
                    f"{label[:80]!r} can be no label of a runner on Bitbucket.", hint="Use lower-case letters, digits and dots: gpu.large"
                )
        if len(name) > NAME_CHARACTERS:
            raise RequestRefused(
                f"Bitbucket takes {NAME_CHARACTERS} characters for the name of a runner: {name[:80]!r}.", hint="Shorten it."
            )
        sent = {"name": name, "labels": list(dict.fromkeys([REQUIRED, *labels, *marks(tags, ".")]))}
        facts = self._facts()

        def make() -> Registration:
            try:
                made = self.client.post(self._runners, sent, what=f"create the runner {name} of {self.place.path}")
            except PermissionMissing as error:
                error.hint = "The token needs the scope 'runner:write' (of an API token: 'write:runner:bitbucket')."
                raise
            client = made["oauth_client"]
            more = {**facts, "runner_uuid": made["uuid"], "oauth_client_id": client["id"]}
            return Registration(made["uuid"], name, Secret(client["secret"]), reusable=True, facts=more)

        return registered(make, name, self, tags.get(TAG_RUNNER, ""))

    def _facts(self) -> dict[str, str]:
        """Return what the agent has to know of its place: the identifiers of the workspace and, where there is one, the repository."""
        found = self.client.get(self._base, what=f"show {self.place.path}")
        if self.place.level == "workspace":
            return {"account_uuid": found["uuid"]}
        return {"account_uuid": found["workspace"]["uuid"], "repository_uuid": found["uuid"]}

    def remove(self, id: str, *, force: bool = False) -> bool:
        """Remove a runner, whatever it does: Bitbucket does not say whether it has a step."""
        try:
            self.client.delete(f"{self._runners}/{part(id)}", what=f"remove the runner {id}")
        except ForgeNotFound:
            return True
        return True

    def job_of(self, agent: ForgeAgent, hint: ForgeJob | None) -> ForgeJob | None:
        """Return the pipeline that the machine names, if it is one of this place that runs or has just failed."""
        if hint is None or not (hint.run.isdigit() or _UUID.fullmatch(hint.run)):
            return None
        workspace, _, name = hint.repository.partition("/")
        ours = self.place.path.casefold()
        if not name or "/" in name or ours not in (hint.repository.casefold(), workspace.casefold()):
            return None
        try:
            found = self.client.get(f"{_repository(hint.repository)}/pipelines/{part(hint.run)}", what=f"show the pipeline {hint.run}")
        except ForgeNotFound:
            return None
        return ForgeJob(id=found["uuid"], run=found["uuid"], name=f"pipeline {found['build_number']}", repository=hint.repository)

    def again(self, job: ForgeJob) -> Rerun:
        """Start a pipeline on the same target, once, when the one that was cut off has ended."""
        path = f"{_repository(job.repository)}/pipelines"
        found: dict[str, Any] = self.client.get(f"{path}/{part(job.run)}", what=f"show the pipeline {job.run}")
        url = f"{self.place.server_url}/{job.repository}/pipelines/results/{found['build_number']}"
        if found["state"]["name"] != "COMPLETED":
            return Rerun(state="waiting", url=url, reason="The pipeline has not ended yet.")
        if str((found["state"].get("result") or {}).get("name", "")) == "SUCCESSFUL":
            return Rerun(state="refused", url=url, reason="The pipeline has succeeded: nothing was cut off.")
        newer = self.client.get(path, what="list the newest pipelines", params={"sort": "-created_on", "pagelen": PER_PAGE})["values"]
        same = [one for one in newer if one["target"] == found["target"] and one["uuid"] != found["uuid"]]
        if same:
            return Rerun(state="refused", url=url, reason=f"Pipeline {same[0]['build_number']} is of the same commit: it is repeated once.")
        context = Context(kind="bitbucket", server_url=self.place.server_url, api_url=self.place.api_url, repository=job.repository)
        return Rerun(state="started", url=Bitbucket(context, self._token, **self._patience).rerun(job.run))


def _agent(item: Mapping[str, Any]) -> ForgeAgent:
    labels = list(item.get("labels") or ())
    online = str((item.get("state") or {}).get("status", "")) == "ONLINE"
    return ForgeAgent(id=item["uuid"], name=item["name"], labels=labels, online=online, busy=None, tags=tags_in(labels))


def _repository(path: str) -> str:
    return "repositories/" + "/".join(part(one) for one in path.split("/"))
