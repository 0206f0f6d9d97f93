"""A backup as a branch of a Neon project: a copy that costs nothing until something changes.

https://api-docs.neon.tech/reference/createprojectbranch. The key goes into a header and is
never part of a message.
"""

import datetime as dt
from typing import Any

import httpx

from market.settings import NeonSettings
from sql.errors import InvalidInput, ReckonerError

_SECONDS = 30.0


def create_branch(settings: NeonSettings, at: dt.datetime) -> dict[str, Any]:
    """Make a branch of the project's default branch, or of NEON_BRANCH_ID, as it is now.

    Returns its id and name. Raises ReckonerError.
    """
    if settings.neon_api_key is None or settings.neon_project_id is None:
        raise InvalidInput("--neon-branch needs NEON_API_KEY and NEON_PROJECT_ID")
    name = f"reckoner-{at.astimezone(dt.UTC):%Y%m%d-%H%M%S}"
    branch = {"name": name}
    if settings.neon_branch_id is not None:
        branch["parent_id"] = settings.neon_branch_id
    try:
        answer = httpx.post(
            f"{settings.neon_api_url.rstrip('/')}/projects/{settings.neon_project_id}/branches",
            headers={"Authorization": f"Bearer {settings.neon_api_key.get_secret_value()}"},
            json={"branch": branch},
            timeout=_SECONDS,
        )
    except httpx.HTTPError as error:
        raise ReckonerError(f"Neon does not answer: {type(error).__name__}") from None
    if not answer.is_success:
        raise ReckonerError(f"Neon refused with {answer.status_code}: {_why(answer)}")
    try:
        made = answer.json()["branch"]
        return {"id": str(made["id"]), "name": str(made["name"])}
    except (ValueError, KeyError, TypeError):
        raise ReckonerError("Neon's answer names no branch: look at its console") from None


def _why(answer: httpx.Response) -> str:
    if answer.status_code in {401, 403}:
        return "NEON_API_KEY is not accepted for this project"
    if answer.status_code == 404:
        return "there is no such NEON_PROJECT_ID, or no such NEON_BRANCH_ID"
    try:
        said = str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return "without a reason"
    return " ".join(said.split())[:200]
