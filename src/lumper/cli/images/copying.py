"""`lumper image copy` and `lumper registry import`: images from elsewhere into a registry."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from lumper.cli.client import Target
from lumper.cli.images.progress import watching
from lumper.cli.output import Json, show_json, size, table
from lumper.errors import Invalid, RemoteNotFound
from lumper.model.images.image import is_repository

_HERE = Target()


def copy(
    source: str,
    dest: str,
    /,
    *,
    platform: str = "",
    referrers: bool = False,
    again: bool = False,
    username: str = "",
    password_file: Path | None = None,
    auth_host: str = "",
    ca_file: Path | None = None,
    dest_username: str = "",
    dest_password_file: Path | None = None,
    dest_auth_host: str = "",
    dest_ca_file: Path | None = None,
    json: Json = False,
    target: Target = _HERE,
) -> None:
    """Copy an image, with all its platforms, into a registry. What is there already is not sent again.

    Example: lumper image copy docker.io/library/alpine:3.20 base/alpine:3.20

    Parameters
    ----------
    source
        HOST/NAME:TAG or HOST/NAME@DIGEST (http:// in front: without TLS), NAME:TAG in our own registry, or the path of
        an OCI layout or of a file that `docker save` has written; PATH:IMAGE if it has several.
    dest
        NAME:TAG in our own registry, or HOST/NAME:TAG in another one.
    platform
        Only the image for this platform of an index, such as linux/arm64.
    referrers
        Signatures, SBOMs and whatever else refers to the image come along.
    again
        Send also what is there already. So an image is whole again of which something was damaged or lost.
    username
        The user name at the source. Without one, what `docker login` has kept is used.
    password_file
        The file with the password or token for the source.
    auth_host
        HOST of the source's token service, if it is another one that needs the password.
    ca_file
        Certificates to trust besides the system's, at the source.
    dest_username
        The user name at another registry as destination.
    dest_password_file
        The file with the password or token for it.
    dest_auth_host
        HOST of its token service, if it is another one that needs the password.
    dest_ca_file
        Certificates to trust besides the system's, at the destination.
    """
    from lumper.cli.images.locations import ImageLocations, Login  # with a whole HTTP client
    from lumper.registry.transfer.copy import Copied, Copier

    async def run() -> Copied:
        async with ImageLocations(target) as places:
            registry, to = places.destination(
                dest, Login(dest_username, dest_password_file, dest_auth_host, dest_ca_file)
            )
            image = places.source(source, Login(username, password_file, auth_host, ca_file))
            with watching(quiet=json) as watcher:
                return await Copier(registry, again=again).copy(
                    image, to.repository, to.tag, watcher, platform=platform, referrers=referrers
                )

    try:
        done = asyncio.run(run())
    except RemoteNotFound as exc:
        if not Path(source.partition(":")[0]).exists():
            raise
        raise RemoteNotFound(exc.message, hint=f"The file or folder of this name is ./{source}.") from exc
    if json:
        show_json({"source": source, "dest": dest, **vars(done)})
        return
    print(f"{dest if ':' in dest.rpartition('/')[2] else f'{dest}:latest'} is {done.digest}")
    if done.manifests:
        print(f"{done.sent} blobs with {size(done.bytes)} were sent, {done.mounted} mounted, {done.there} were there.")
    else:
        print("Nothing of it had to be sent.")


def import_(
    url: str,
    /,
    *,
    repository: Annotated[list[str] | None, Parameter(negative_iterable=())] = None,
    tag: Annotated[list[str] | None, Parameter(negative_iterable=())] = None,
    prefix: str = "",
    referrers: bool = False,
    again: bool = False,
    dry_run: bool = False,
    username: str = "",
    password_file: Path | None = None,
    auth_host: str = "",
    ca_file: Path | None = None,
    json: Json = False,
    target: Target = _HERE,
) -> None:
    """Copy every image of another registry into this one. Run again, it goes on with what is missing or has changed.

    The status is 1 if anything has failed; at the end it is told what, and why.

    Example: lumper registry import https://old-registry.example.org --repository 'team/*' --dry-run

    Parameters
    ----------
    url
        https://HOST or http://HOST of the registry.
    repository
        A glob of names; may be given more than once. A registry that lists no repositories needs whole names.
    tag
        A glob of tags; may be given more than once.
    prefix
        What goes before the names here.
    referrers
        Signatures, SBOMs and whatever else refers to the images come along.
    again
        Send also what is there already. So images are whole again of which something was damaged or lost.
    dry_run
        Only tell what would be copied.
    username
        The user name there. Without one, what `docker login` has kept is used.
    password_file
        The file with the password or token.
    auth_host
        HOST of its token service, if it is another one that needs the password.
    ca_file
        Certificates to trust besides the system's.
    """
    if prefix and not is_repository(prefix.rstrip("/")):
        raise Invalid(f"{prefix!r} cannot go before the names.", hint="Give what names a repository, such as old.")
    from lumper.cli.images.locations import ImageLocations, Login  # with a whole HTTP client
    from lumper.registry.remote.reference import checked_url
    from lumper.registry.transfer.mirror import Mirror, Outcome

    async def run() -> list[Outcome]:
        async with ImageLocations(target) as places:
            old = places.registry(checked_url(url), Login(username, password_file, auth_host, ca_file))
            with watching(quiet=json) as watcher:
                work = Mirror(
                    old,
                    places.registry("", Login()),
                    watcher,
                    repositories=repository or (),
                    tags=tag or (),
                    prefix=prefix,
                    dry_run=dry_run,
                    referrers=referrers,
                    again=again,
                )
                found = []
                async for outcome in work.run():
                    watcher.line(f"{outcome.state} {outcome.repository}:{outcome.tag} {outcome.why}".rstrip())
                    found.append(outcome)
                return found

    found = asyncio.run(run())
    counts = Counter(one.state for one in found)
    failed = [one for one in found if one.state == "failed"]
    if json:
        show_json({"counts": dict(counts), "images": [vars(one) for one in found]})
    else:
        _report(found, failed, counts, dry_run=dry_run)
    if failed:
        sys.exit(1)


def _report(found: list[Any], failed: list[Any], counts: Counter[str], *, dry_run: bool) -> None:
    if dry_run:
        rows = [(one.repository, one.tag, one.digest[:19]) for one in found if one.state == "would"]
        table(("repository", "tag", "digest"), rows, empty="Nothing would be copied.")
    if failed:
        table(("repository", "tag", "why"), [(one.repository, one.tag, one.why) for one in failed], empty="")
    if not found:
        print("No tag there is to be copied: look at --repository and --tag, and whether you may see more there.")
        return
    copied = f"{counts['would']} would be copied" if dry_run else f"{counts['copied']} were copied"
    sent = "" if dry_run else f" with {size(sum(one.bytes for one in found))}"
    print(
        f"\nOf {len(found)} tag{'' if len(found) == 1 else 's'} {copied}{sent}, {counts['there']} were there, "
        f"{counts['failed']} failed."
    )
