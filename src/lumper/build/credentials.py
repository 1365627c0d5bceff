"""What an attempt is given besides its source, put into the request to the engine. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lumper.build.port import BuildRequest, Login
from lumper.build.recipe.asked import Asked
from lumper.errors import SecretMissing
from lumper.model.builds.secrets import GivenSecrets


def check_given(asked: Asked, given: GivenSecrets, project: str, ref: str, *, agent: bool = False) -> None:
    """Raise SecretMissing unless everything that the recipe asks for is there, and names all that is not.

    `agent`: the worker's own ssh agent does for keys that the project does not have.
    """
    if strange := [place.host for place in asked.push if place.host not in given.logins]:
        raise SecretMissing(
            f"lumper.toml wants the image at {strange[0]}, and builds of {ref} have no credentials for that registry.",
            hint=f"lumper secret login {strange[0]} --username NAME --project {project}",
        )
    absent = [name for name in asked.secrets.values() if name not in given.values]
    keys = [name for name in asked.ssh if name not in given.keys and (name in given.refused or not agent)]
    absent += [f"the ssh key {name}" for name in keys]
    if not absent:
        return
    kept = [name for name in absent if name.removeprefix("the ssh key ") in given.refused]
    if kept:
        raise SecretMissing(
            f"Builds of {ref} may not have {_listed(kept)}.",
            hint="Build a tag, or let the branch have it: lumper secret set … --branches.",
        )
    command = "ssh-key" if absent[0].startswith("the ssh key ") else "set"
    raise SecretMissing(
        f"lumper.toml asks for {_listed(absent)}, and {project} has no such secret.",
        hint=f"lumper secret {command} {project} {absent[0].removeprefix('the ssh key ')} < FILE",
    )


def with_entrusted(
    request: BuildRequest, asked: Asked, given: GivenSecrets, own: Login, hosts: Iterable[str]
) -> BuildRequest:
    """The request with the secrets that the recipe asks for, and all credentials: `own` at `hosts`, our own registry's.

    The sockets of ssh agents are still to come.
    """
    values = {key: given.values[name] for key, name in asked.secrets.items()}
    logins = {host: Login(*login) for host, login in given.logins.items()} | {host: own for host in hosts if host}
    return replace(request, secrets=values, ssh=dict.fromkeys(asked.ssh, ""), logins=logins)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(name if name.startswith("the ") else f"the secret {name}" for name in names)
