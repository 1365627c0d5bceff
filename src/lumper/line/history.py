"""All of the history in one value, for those who need more than one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lumper.accounts.accounts import Accounts
from lumper.accounts.activity import ActivityLog
from lumper.line.builds.builds import BuildHistory
from lumper.line.builds.origins import Origins
from lumper.line.builds.triggers import TriggerHistory
from lumper.line.builds.verifications import Verifications
from lumper.line.deliveries import DeliveryHistory
from lumper.line.figures import Figures
from lumper.line.logs.log_rows import DatabaseLogs
from lumper.line.logs.logs import FolderLogs, Logs
from lumper.line.outbox import Outbox
from lumper.line.projects import ProjectHistory
from lumper.line.rollouts import RolloutHistory
from lumper.line.secrets import Secrets
from lumper.model.events import Payload
from lumper.model.links import Links
from lumper.registry.catalog.catalog import Catalog
from lumper.registry.catalog.images import ImageHistory
from lumper.registry.catalog.webhooks import Webhooks
from lumper.store.database import Database
from lumper.store.sealing import Sealer

SECRETS_KEY = "secrets.key"


@dataclass(frozen=True)
class History:
    """The tables by subject, on one database, and the folder of logs."""

    database: Database
    outbox: Outbox
    projects: ProjectHistory
    deliveries: DeliveryHistory
    builds: BuildHistory
    rollouts: RolloutHistory
    images: ImageHistory
    catalog: Catalog
    activity: ActivityLog
    accounts: Accounts
    logs: Logs
    figures: Figures
    triggers: TriggerHistory
    webhooks: Webhooks
    origins: Origins
    verifications: Verifications
    secrets: Secrets


def open_history(
    url: str, logs: Path, links: Links, encode: Callable[[Payload], bytes], key: Path | None = None
) -> History:
    """The history in the database at `url` (a SQLAlchemy URL); call `migrate` on its database before use.

    `key` is the file with the key that seals secrets, or one in the folder `keys` beside the logs.
    """
    database = Database(url)
    sealer = Sealer(key or logs.parent / "keys" / SECRETS_KEY)
    outbox = Outbox(database, encode)
    images = ImageHistory(database)
    builds = BuildHistory(database, outbox, links)
    return History(
        database=database,
        outbox=outbox,
        projects=ProjectHistory(database, sealer),
        deliveries=DeliveryHistory(database),
        builds=builds,
        rollouts=RolloutHistory(database, outbox, links),
        images=images,
        catalog=Catalog(database),
        activity=ActivityLog(database),
        accounts=Accounts(database),
        logs=DatabaseLogs(database) if database.shared else FolderLogs(logs),
        figures=Figures(database),
        triggers=TriggerHistory(database),
        webhooks=Webhooks(database, images, sealer),
        origins=Origins(database),
        verifications=Verifications(database, builds),
        secrets=Secrets(database, sealer),
    )
