"""Every error that Lumper raises, as one tree.

    LumperError
    ├── ConfigError                 the configuration is wrong (carries every problem at once)
    ├── RecipeError                 `lumper.toml` in the repository is wrong (likewise, with lines)
    ├── NotFound · Conflict · Invalid   what an API caller asked for
    ├── Unauthorized · Forbidden · TooManyAttempts · TooManyRequests   who asked
    │   └── RuleForbids             a rule for the repository: immutable tags, quotas
    ├── ServerUnreachable           the command line or a role looks for the server (temporary)
    ├── SourceError                 the forge's git repository
    │   ├── GitUnreachable          (temporary)
    │   ├── MirrorDamaged           (temporary)
    │   ├── GitUnauthorized · RepositoryNotFound
    │   ├── RefNotFound · CommitMismatch · CheckoutTooLarge · SourceRefused
    ├── HookError                   a webhook request
    │   ├── HookUnauthorized · HookMalformed · HookTooLarge
    ├── ForgeError                  the forge's own API
    │   ├── ForgeUnavailable        (temporary)
    │   └── ForgeRefused
    │       └── ForgeUnknown
    ├── QueueError
    │   ├── QueueUnavailable        (temporary)
    │   └── OutOfTurn               (temporary)
    ├── EngineError                 what executes a Dockerfile
    │   ├── EngineUnavailable       (temporary)
    │   ├── BuildFailed · DockerfileMissing · BuildTimeout · EngineLacks · SecretMissing
    │   │   └── FrontendUnavailable · BuildRefused
    │   └── PushFailed
    │       └── RegistryFull · PushRefused · ImageGone
    ├── StorageError                where blobs and logs are kept
    │   ├── StorageFull
    │   ├── DatabaseFailed          what is known of them is not to be had
    │   │   └── DatabaseBroken      and will not be, by this file
    │   └── LogGap                  (temporary)
    ├── RegistryError               an answer of the OCI API (codes in registry/errors.py)
    ├── RemoteError                 another registry: one that is mirrored, copied from or to
    │   ├── RemoteAway              (temporary)
    │   │   └── RemoteUnavailable · RemoteLimited
    │   └── RemoteUnauthorized · RemoteNotFound · RemoteInvalid
    ├── ArchiveError                an image in a folder or a tar file
    ├── NotifyError
    │   ├── ChannelUnavailable      (temporary)
    │   └── MessageRefused
    └── DeployError
        ├── HostUnavailable         (temporary)
        ├── ReleaseUnhealthy · ReleaseRefused

The docstring of a class is the sentence that a person reads when no better one is given; `hint` says what
to do next. `temporary` errors are worth another try by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


class LumperError(Exception):
    """Something went wrong in Lumper."""

    temporary: ClassVar[bool] = False
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        self.message = message or (self.__doc__ or "").strip().splitlines()[0]
        self.hint = hint or self.default_hint
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message

    @property
    def sentence(self) -> str:
        """The message and, where there is one, the hint behind it."""
        return f"{self.message} {self.hint}".strip()


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a file that a person wrote. `line` counts from 1; 0 means the whole file."""

    line: int
    where: str
    text: str

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        return f"{place}{self.where}: {self.text}" if self.where else f"{place}{self.text}"


class _Problems(LumperError):
    """A file that a person wrote has problems."""

    def __init__(self, name: str, problems: tuple[Problem, ...], *, hint: str = "") -> None:
        self.name = name
        self.problems = problems
        count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{name} has {count}:\n" + "\n".join(f"  {problem}" for problem in problems), hint=hint)


class ConfigError(_Problems):
    """The configuration is wrong."""


class RecipeError(_Problems):
    """The recipe in the repository is wrong."""


class NotFound(LumperError):
    """There is no such thing."""


class Conflict(LumperError):
    """That is already there, or in a state that does not allow this."""


class Invalid(LumperError):
    """The request is not understood."""


class Unauthorized(LumperError):
    """The name, password or token is not right."""


class Forbidden(LumperError):
    """You may not do that."""


class RuleForbids(Forbidden):
    """A rule of the registry forbids that."""

    default_hint = "`lumper registry rules list` shows the rules; an admin can change them."


class TooManyAttempts(LumperError):
    """There were too many failed sign-ins.

    `retry_after` is in seconds.
    """

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(hint=f"Wait {retry_after} s and try again.")


class TooManyRequests(LumperError):
    """There were too many requests.

    `retry_after` is in seconds; `headers` tell clients of the limit.
    """

    def __init__(self, retry_after: int, headers: Mapping[str, str]) -> None:
        self.retry_after = retry_after
        self.headers = headers
        super().__init__(hint=f"Wait {retry_after} s and try again.")


class ServerUnreachable(LumperError):
    """The Lumper server cannot be reached."""

    temporary = True
    default_hint = "Start it with `lumper up`, or say where it is with LUMPER_SERVER and LUMPER_TOKEN_FILE."


class SourceError(LumperError):
    """The git repository could not be read."""


class GitUnreachable(SourceError):
    """The git repository cannot be reached."""

    temporary = True
    default_hint = "Check the URL with `lumper project show`, the network and the forge's own state."


class MirrorDamaged(SourceError):
    """The worker's copy of the git repository is damaged."""

    temporary = True
    default_hint = "The next try fetches it anew; if it happens again, check the worker's disk."


class GitUnauthorized(SourceError):
    """The git server does not let Lumper in."""

    default_hint = (
        "Give the project a token (`lumper project url`), or the worker an ssh key, that may read the repository."
    )


class RepositoryNotFound(SourceError):
    """There is no git repository at this URL."""

    default_hint = "Check the URL; many forges answer so too when the credentials may not see the repository."


class RefNotFound(SourceError):
    """The tag is not in the git repository."""

    default_hint = "It may have been deleted since; push it again to build it."


class CommitMismatch(SourceError):
    """The tag does not point at the commit that the forge told of."""

    default_hint = "It was moved since; the delivery of its new place builds that commit."


class CheckoutTooLarge(SourceError):
    """The git repository is larger or slower than the limits allow."""

    default_hint = "Raise [git] max_size or timeout if that is meant."


class SourceRefused(SourceError):
    """This kind of git URL is not allowed."""

    default_hint = "Use an https://, http:// or ssh:// URL, or git@host:owner/name."


class HookError(LumperError):
    """The webhook request was not accepted."""


class HookUnauthorized(HookError):
    """The signature does not fit any project of this name."""

    default_hint = "Compare the secret at the forge with `lumper project show NAME --secret`."


class HookMalformed(HookError):
    """The body of the webhook request is not what the forge sends."""


class HookTooLarge(HookError):
    """The webhook request is larger than any forge sends."""


class ForgeError(LumperError):
    """The forge's API did not do what was asked."""

    default_hint = "Its own log may tell more."


class ForgeUnavailable(ForgeError):
    """The forge's API cannot be reached."""

    temporary = True
    default_hint = "Is its address right, and may this machine connect to it? See --forge-url."


class ForgeRefused(ForgeError):
    """The forge's API refuses the request."""

    default_hint = "The token needs the right to change webhooks and to set statuses of commits."


class ForgeUnknown(ForgeRefused):
    """The forge's API does not know what is asked for, or shows it to nobody with this token."""


class QueueError(LumperError):
    """The queue did not do what was asked."""


class QueueUnavailable(QueueError):
    """The queue cannot be reached."""

    temporary = True
    default_hint = "Is the broker running, and is [queue] url right?"


class OutOfTurn(QueueError):
    """An event came before the one that belongs in front of it."""

    temporary = True


class EngineError(LumperError):
    """The build engine did not do what was asked."""


class EngineUnavailable(EngineError):
    """The build engine cannot be reached."""

    temporary = True
    default_hint = "Start it (`systemctl start docker`) or set [worker] engine; `lumper doctor` checks it."


class DockerfileMissing(EngineError):
    """The repository has no Dockerfile at this commit."""

    default_hint = 'Add a Dockerfile at the root, or name another one in lumper.toml: [build] dockerfile = "…".'


class BuildFailed(EngineError):
    """A step of the Dockerfile failed.

    `line` is that of the Dockerfile where the engine itself saw the reason, 0 if it told none.
    """

    def __init__(
        self, message: str = "", *, hint: str = "", step: str = "", exit_code: int | None = None, line: int = 0
    ) -> None:
        self.step = step
        self.exit_code = exit_code
        self.line = line
        super().__init__(message, hint=hint)

    def happened(self, place: str) -> None:
        """Say in front where it was."""
        self.message = f"{place}: {self.message[:1].lower()}{self.message[1:]}"


class FrontendUnavailable(BuildFailed):
    """The syntax image of the Dockerfile cannot be fetched."""

    default_hint = (
        "The line `# syntax=` of the Dockerfile asks for it. Remove that line: the engine has a parser of its own. "
        "Or let the engine reach the image's registry."
    )


class BuildRefused(BuildFailed):
    """The Dockerfile asks for more than this worker grants."""

    default_hint = "The operator may grant it: [worker] frontends and entitlements."


class EngineLacks(EngineError):
    """The recipe needs what the worker's engine cannot do."""


class SecretMissing(EngineError):
    """The recipe asks for a secret that is not there, or not for this build."""

    default_hint = "`lumper secret set` keeps one for the builds of a project."


class BuildTimeout(EngineError):
    """The build took longer than it may."""

    default_hint = "Raise [worker] build_timeout if that is meant."


class PushFailed(EngineError):
    """The engine could not push the image to the registry.

    `retry_after` are the seconds that the registry asks to wait before another try, 0 if it does not say.
    """

    temporary = True

    def __init__(self, message: str = "", *, hint: str = "", retry_after: float = 0.0) -> None:
        self.retry_after = retry_after
        super().__init__(message, hint=hint)


class RegistryFull(PushFailed):
    """The registry has no space left for the image."""

    default_hint = "The registry has no space left: free some there, then build again."


class PushRefused(PushFailed):
    """The registry does not take the image, and would not at another try."""

    temporary = False


class ImageGone(PushFailed):
    """The engine does not have the image that is to be pushed: something else has removed it."""

    temporary = False
    default_hint = (
        "Again and again something removes images there, like `docker image prune --all`: end it, then build again."
    )


class StorageError(LumperError):
    """The storage did not do what was asked."""


class StorageFull(StorageError):
    """There is no space left where Lumper keeps its data."""

    default_hint = "Free some space under the data folder; nothing that was stored is lost."


class DatabaseFailed(StorageError):
    """The database did not do what was asked."""


class DatabaseBroken(DatabaseFailed):
    """The file of the database is broken."""

    default_hint = (
        "End Lumper, put a backup of lumper.db in its place and remove lumper.db-wal and -shm, start it, and run "
        "`lumper registry rebuild`; without a backup that brings back the images."
    )


class LogGap(StorageError):
    """A chunk of a log came before the one that belongs in front of it."""

    temporary = True


class RegistryError(LumperError):
    """The registry refused the request. `code` is one of the OCI distribution spec's error codes.

    `retry_after` are the seconds that the client is told to wait, 0 for none.
    """

    def __init__(self, code: str, message: str = "", *, detail: str = "", retry_after: float = 0.0) -> None:
        self.code = code
        self.detail = detail
        self.retry_after = retry_after
        super().__init__(message or code)


class RemoteError(LumperError):
    """The other registry did not do what was asked."""


class RemoteAway(RemoteError):
    """The other registry does not serve us now.

    `retry_after` are the seconds that it asks to wait, 0 if it does not say.
    """

    temporary = True

    def __init__(self, message: str = "", *, hint: str = "", retry_after: float = 0.0) -> None:
        self.retry_after = retry_after
        super().__init__(message, hint=hint)


class RemoteUnavailable(RemoteAway):
    """The other registry cannot be reached."""

    default_hint = "Check its URL, the network and its own state."


class RemoteLimited(RemoteAway):
    """The other registry wants fewer requests."""

    default_hint = "Wait, or sign in there: many registries allow more to those they know."


class RemoteUnauthorized(RemoteError):
    """The other registry does not allow this."""

    default_hint = "If that does not tell: check the user name, the password and what they may do there."


class RemoteNotFound(RemoteError):
    """The other registry has no such image."""

    default_hint = "Compare the name with what people pull; some registries answer so to whom they do not know."


class RemoteInvalid(RemoteError):
    """What the other registry sent is not what was asked for."""

    default_hint = "Nothing of it was kept; its operator should hear of it."


class ArchiveError(LumperError):
    """The folder or file is not an image."""

    default_hint = "Give an OCI layout (folder or tar) or a file that `docker save` has written."


class NotifyError(LumperError):
    """The message was not delivered."""


class ChannelUnavailable(NotifyError):
    """The channel cannot be reached now."""

    temporary = True
    default_hint = "Lumper tries again by itself; check [mail] if it goes on."


class MessageRefused(NotifyError):
    """The channel refused the message for good."""


class DeployError(LumperError):
    """The release could not be brought to the host."""


class HostUnavailable(DeployError):
    """The host's Docker Engine cannot be reached."""

    temporary = True
    default_hint = "Start it (`systemctl start docker`) or set [deploy] engine; `lumper doctor` checks it."


class ReleaseRefused(DeployError):
    """The host's engine refused the new release."""


class ReleaseUnhealthy(DeployError):
    """The new release did not become healthy."""
