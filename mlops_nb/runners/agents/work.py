"""Which work a machine does for a forge: its agent, by the registration that came for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_nb.errors import InvalidInput
from mlops_nb.runners.agents.enrolment import Enrolment
from mlops_nb.runners.agents.forge_work import ForgeWork
from mlops_nb.runners.agents.keeper import Keeper, ServerKeeper

if TYPE_CHECKING:
    from mlops_nb.runners.machine.site import Site


def work_at(site: Site) -> ForgeWork:
    """Return the agent for a machine; it asks the server, where there is one, for what needs the forge's token.

    Raises:
        InvalidInput: If what came is no registration, or one of another forge.
    """
    enrolment = Enrolment.decode(site.secret)
    if enrolment.kind != site.agent.kind:
        raise InvalidInput(f"The registration is of {enrolment.kind}, the runner of {site.agent.kind}.", hint="Launch the runner again.")
    keeper = ServerKeeper(site.store, site.runner_id) if site.store is not None else None
    return agent_of(enrolment, keeper=keeper, folder=site.folder / "agent", environment=site.environment, user=site.user, tell=site.log)


def agent_of(
    enrolment: Enrolment,
    *,
    keeper: Keeper | None,
    folder: Path,
    environment: Mapping[str, str],
    user: str = "",
    tell: Callable[[str], None],
    pause: float = 5.0,
) -> ForgeWork:
    """Return the agent of the forge that an enrolment is of; the arguments are those of `ForgeWork`."""
    made: type[ForgeWork]
    if enrolment.kind == "github":
        from mlops_nb.runners.agents.github import GitHubWork as made
    elif enrolment.kind == "gitlab":
        from mlops_nb.runners.agents.gitlab import GitLabWork as made
    else:
        from mlops_nb.runners.agents.bitbucket import BitbucketWork as made
    return made(enrolment, keeper=keeper, folder=folder, environment=environment, user=user, tell=tell, pause=pause)
