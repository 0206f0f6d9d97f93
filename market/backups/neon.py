"""A backup as a branch of a Neon project: a copy that costs nothing until something changes.

https://api-docs.neon.tech/reference/createprojectbranch. The key is sent in a header and never
appears in a message. Importing this module loads httpx.
"""

import datetime as dt
from typing import Any

import httpx

from market.settings import NeonSettings
from sql.errors import InvalidInput, ReckonerError

_SECONDS = 30.0


def create_branch(settings: NeonSettings, at: dt.datetime) -> dict[str, Any]:
    """Make a branch of the project's default branch, or of NEON_BRANCH_ID, as it is now.

    at: names the branch. Returns its id and name. Raises InvalidInput without key or project,
    ReckonerError when Neon does not answer or refuses.
    """
    if settings.neon_api_key is None or settings.neon_project_id is None:
        raise InvalidInput("--neon-branch needs NEON_API_KEY and NEON_PROJECT_ID")
    name = f"reckoner-{at.astimezone(dt.UTC):%Y%m%d-%H%M%S}"
    branch = {"name": name}
    if settings.neon_branch_id is not None:
        branch["parent_id"] = settings.neon_branch_id
    try:
        response = httpx.post(
            f"{settings.neon_api_url.rstrip('/')}/projects/{settings.neon_project_id}/branches",
            headers={"Authorization": f"Bearer {settings.neon_api_key.get_secret_value()}"},
            json={"branch": branch},
            timeout=_SECONDS,
        )
    except httpx.HTTPError as error:
        raise ReckonerError(f"Neon does not answer: {type(error).__name__}") from None
    if not response.is_success:
        raise ReckonerError(f"Neon refused with {response.status_code}: {_why(response)}")
    try:
        made = response.json()["branch"]
        return {"id": str(made["id"]), "name": str(made["name"])}
    except (ValueError, KeyError, TypeError):
        raise ReckonerError("Neon's answer names no branch: look at its console") from None


def _why(response: httpx.Response) -> str:
    if response.status_code in {401, 403}:
        return "NEON_API_KEY is not accepted for this project"
    if response.status_code == 404:
        return "there is no such NEON_PROJECT_ID, or no such NEON_BRANCH_ID"
    try:
        message = str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return "without a reason"
    return " ".join(message.split())[:200]
