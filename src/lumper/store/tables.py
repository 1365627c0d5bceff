"""The tables."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from lumper.store.columns import Time, in_order_of_bytes

metadata = MetaData()


def _partial(name: str, *columns: str, sqlite: str, postgresql: str) -> Index:
    """An index of some rows only."""
    return Index(name, *columns, sqlite_where=text(sqlite), info={"postgresql": postgresql})


def made_for(dialect: str) -> MetaData:
    """All tables, to be made in a database of this kind.

    What PostgreSQL is to be told is said here only: naming it above would load its dialect, two megabytes, everywhere.
    """
    if dialect == "postgresql":
        for table in metadata.tables.values():
            for index in table.indexes:
                if where := index.info.get("postgresql"):
                    index.dialect_kwargs["postgresql_where"] = text(where)
    return metadata


projects = Table(
    "projects",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("url", Text, nullable=False),
    Column("repository", String(255), nullable=False, index=True),
    Column("image", String(255), nullable=False, unique=True),
    Column("sealed_secret", LargeBinary, nullable=False),  # of the webhook
    Column("username", Text, nullable=False, default=""),
    Column("sealed_password", LargeBinary, nullable=False),  # of git; empty for none, as the token
    Column("local", Boolean, nullable=False, default=False),
    Column("created_at", Time, nullable=False),
    Column("rules", JSON, nullable=False, default=dict),  # those that are not the default
    Column("forge", String(32), nullable=False, default=""),
    Column("forge_url", Text, nullable=False, default=""),
    Column("sealed_token", LargeBinary, nullable=False),  # of the forge
    Column("webhook", String(64), nullable=False, default=""),  # its id at the forge
    Column("next_schedule", Time),
    Column("reconciled_at", Time),
)

secrets = Table(  # what builds are given; of all projects without a project
    "secrets",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project_id", ForeignKey("projects.id", ondelete="CASCADE"), index=True),
    Column("kind", String(16), nullable=False),
    Column("name", String(255), nullable=False),
    Column("username", String(255), nullable=False, default=""),
    Column("branches", JSON, nullable=False, default=list),
    Column("sealed", LargeBinary, nullable=False),
    Column("changed_at", Time, nullable=False),
    Column("changed_by", String(255), nullable=False, default=""),
    UniqueConstraint("project_id", "kind", "name"),
)

known_tags = Table(  # the tags that a project's repository had when it was last looked at
    "known_tags",
    metadata,
    Column("project_id", ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("ref", String(255), primary_key=True),
    Column("commit", String(64), nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project_id", ForeignKey("projects.id", ondelete="CASCADE"), nullable=False),
    Column("forge", String(32), nullable=False),
    Column("delivery_id", String(128), nullable=False),
    Column("event", String(64), nullable=False),
    Column("headers", JSON, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("digest", String(64), nullable=False),  # SHA-256 of the body, which is not kept as long
    Column("received_at", Time, nullable=False, index=True),
    Column("verdict", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("replayed_at", Time),
    Index("deliveries_known", "project_id", "forge", "delivery_id"),  # what comes again has a row of its own
    Index("deliveries_bodies", "project_id", "digest"),
    sqlite_autoincrement=True,
)

builds = Table(
    "builds",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project_id", ForeignKey("projects.id", ondelete="CASCADE"), nullable=False),
    Column("project", String(255), nullable=False),
    Column("ref", Text, nullable=False),
    Column("told_commit", String(64), nullable=False),  # as the delivery says; `commit` is what it resolved to
    Column("commit", String(64), nullable=False),
    Column("recipe", String(255), nullable=False, default=""),
    Column("image", String(255), nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("attempt", Integer, nullable=False),
    Column(
        "failures", Integer, nullable=False, default=0
    ),  # temporary failures so far; lost attempts are not among them
    Column("lost", Integer, nullable=False, default=0),  # attempts that went with their worker
    Column("claim", String(32), nullable=False, default=""),
    Column("worker", String(255), nullable=False, default=""),
    Column("boot", String(32), nullable=False, default=""),
    Column("lease_until", Time),
    Column("cancel_requested", Boolean, nullable=False, default=False),
    Column("pusher_name", Text, nullable=False, default=""),
    Column("pusher_email", Text, nullable=False, default=""),
    Column("author_name", Text, nullable=False, default=""),
    Column("author_email", Text, nullable=False, default=""),
    Column("created_at", Time, nullable=False),
    Column("due_at", Time, nullable=False),  # this attempt begins then at the earliest
    Column("started_at", Time, index=True),
    Column("finished_at", Time),
    Column("digest", String(160), nullable=False, default="", index=True),
    Column("size", BigInteger, nullable=False, default=0),
    Column("tags", JSON, nullable=False, default=list),
    Column("elsewhere", JSON, nullable=False, default=list),  # HOST/REPOSITORY:TAG in other registries
    Column("error", Text, nullable=False, default=""),
    Column("hint", Text, nullable=False, default=""),
    Column("log_size", BigInteger, nullable=False, default=0),
    Column("stages", JSON, nullable=False, default=dict),
    Column("trigger", String(16), nullable=False, default="push"),
    Column("cause", Text, nullable=False, default=""),
    Column("before", String(64), nullable=False, default=""),  # what the ref pointed at before the push
    Column("bases", JSON, nullable=False, default=list),  # the images that it was built from: name and digest
    Column("parameters", JSON, nullable=False, default=dict),  # what the recipe asked for
    Column("attested", String(16), nullable=False, default=""),
    Column("verifies", Integer, nullable=False, default=0),  # the build whose image it is to give once more
    UniqueConstraint("project_id", "ref", "told_commit", "recipe", "verifies"),
    Index("builds_attested", "attested", "state"),
    sqlite_autoincrement=True,  # tokens, logs and images name it, also when its project is gone
)

verifications = Table(
    "verifications",
    metadata,
    Column("build_id", ForeignKey("builds.id", ondelete="CASCADE"), primary_key=True),
    Column("by_id", Integer, nullable=False),  # the build that builds it again
    Column("digest", String(160), nullable=False),
    Column("other", String(160), nullable=False, default=""),
    Column("state", String(16), nullable=False, index=True),
    Column("summary", Text, nullable=False, default=""),
    Column("differences", JSON, nullable=False, default=list),
    Column("started_at", Time, nullable=False),
    Column("decided_at", Time),
)

workers = Table(  # as they told of themselves
    "workers",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("boot", String(32), nullable=False),
    Column("slots", Integer, nullable=False),  # builds at a time; 0 for one that has ended
    Column("labels", JSON, nullable=False, default=list),
    Column("since", Time, nullable=False),  # by its own clock
    Column("seen_at", Time, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("message_id", String(64), nullable=False),
    Column("topic", String(255), nullable=False),
    Column("body", LargeBinary, nullable=False),
)

services = Table(
    "services",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("project_id", ForeignKey("projects.id", ondelete="SET NULL")),
    Column("generation", Integer, nullable=False),  # of the newest release
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("service", ForeignKey("services.name", ondelete="CASCADE"), nullable=False, index=True),
    Column("build_id", ForeignKey("builds.id", ondelete="SET NULL")),
    Column("release", JSON, nullable=False),
    Column("digest", String(160), nullable=False, index=True),
    Column("generation", Integer, nullable=False),
    Column("version", Text, nullable=False, default=""),
    Column("state", String(16), nullable=False, index=True),
    Column("created_at", Time, nullable=False),
    Column("finished_at", Time),
    Column("error", Text, nullable=False, default=""),
    Column("hint", Text, nullable=False, default=""),
    Column("journal", JSON, nullable=False, default=list),
    UniqueConstraint("service", "generation"),
)

hosts = Table(
    "hosts",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("observed_at", Time, nullable=False),
    Column("containers", JSON, nullable=False),
)

repositories = Table(
    "repositories",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", in_order_of_bytes(255), nullable=False, unique=True),
    Column("created_at", Time, nullable=False),
)

repository_blobs = Table(
    "repository_blobs",
    metadata,
    Column("repository_id", ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", String(160), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("linked_at", Time, nullable=False),  # or when a manifest that refers to it went, if that was later
    Index("repository_blobs_digest", "digest"),
    Index("repository_blobs_linked", "repository_id", "linked_at"),
)

blobs = Table(  # what lies in the storage, manifests too
    "blobs",
    metadata,
    Column("digest", in_order_of_bytes(160), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("stored_at", Time, nullable=False),  # or when a repository gave it up, if that was later
    Index("blobs_stored", "stored_at"),
)

manifests = Table(
    "manifests",
    metadata,
    Column("repository_id", ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", in_order_of_bytes(160), primary_key=True),
    Column("media_type", String(255), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("subject", String(160), nullable=False, default=""),
    Column("artifact_type", String(255), nullable=False, default=""),
    Column("annotations", JSON, nullable=False, default=dict),
    Column("created_at", Time, nullable=False),
    Column("pushed_at", Time, nullable=False),  # the last time; or when what kept it went, if that was later
    Column("abandoned", Boolean, nullable=False, default=False),  # only a build that has ended had a use for it
    Column("retired", Boolean, nullable=False, default=False),  # retention gave it up
    Column("pulled_at", Time),  # a minute late
    Column("build_id", Integer),
    Index("manifests_subject", "repository_id", "subject", "digest"),
    Index("manifests_digest", "digest"),
    Index("manifests_pushed", "repository_id", "pushed_at"),
    _partial(
        "manifests_given_up",
        "repository_id",
        sqlite="retired = 1 OR abandoned = 1",
        postgresql="retired OR abandoned",
    ),
)

manifest_links = Table(
    "manifest_links",
    metadata,
    Column("repository_id", ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("parent", String(160), primary_key=True),
    Column("child", String(160), primary_key=True),
    Column("manifest", Boolean, nullable=False),
    Column("size", BigInteger, nullable=False),
    Index("manifest_links_child", "repository_id", "child", "parent"),  # whole, or SQLite reads all links instead
)

tags = Table(
    "tags",
    metadata,
    Column("repository_id", ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("name", in_order_of_bytes(128), primary_key=True),
    Column("digest", String(160), nullable=False),
    Column("updated_at", Time, nullable=False),
    Column("build_id", Integer),
    Index("tags_digest", "repository_id", "digest", "name", "updated_at"),
)

rules = Table(
    "rules",
    metadata,
    Column("repositories", in_order_of_bytes(255), primary_key=True),  # a glob
    Column("body", JSON, nullable=False),
    Column("updated_at", Time, nullable=False),
)

needs = Table(  # digests in hand: registry/catalog/needs.py
    "needs",
    metadata,
    Column("digest", in_order_of_bytes(160), primary_key=True),
    Column("until", Float(53), nullable=False),  # seconds since 1970 by the database's clock
    Column("claimed", Boolean, nullable=False),  # by a collector; or else needed
)

log_chunks = Table(  # where several servers share the database; or else the logs are files
    "log_chunks",
    metadata,
    Column("build_id", ForeignKey("builds.id", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("offset", BigInteger, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

shared_files = Table(
    "shared_files",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

activity = Table(  # who did what; nothing in it refers to other tables, so that it outlives what it tells of
    "activity",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at", Time, nullable=False),
    Column("action", String(32), nullable=False),
    Column("repository", String(255), nullable=False),
    Column("tag", String(128), nullable=False),
    Column("digest", String(160), nullable=False),
    Column("before", String(160), nullable=False),  # where a tag pointed that was moved or removed
    Column("actor", String(255), nullable=False),
    Column("role", String(32), nullable=False),
    Column("address", String(64), nullable=False),
    Column("detail", Text, nullable=False),
    Index("activity_repository", "repository", "id"),
    Index("activity_tag", "repository", "tag", "id"),
    Index("activity_actor", "actor", "id"),
    _partial("activity_before", "repository", "before", sqlite="before != ''", postgresql="before != ''"),
    _partial("activity_left", "repository", "at", "before", sqlite="before != ''", postgresql="before != ''"),
    sqlite_autoincrement=True,  # who reads on from an id may not meet it again after all rows were forgotten
)

renames = Table(  # names of which the storage has not heard yet: see registry/names.py
    "renames",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("repository_id", ForeignKey("repositories.id", ondelete="CASCADE"), nullable=False),
    Column("reference", String(160), nullable=False),
    Column("changed_at", Time, nullable=False),
    Index("renames_reference", "repository_id", "reference"),
    sqlite_autoincrement=True,  # who has looked at a number never meets it again
)

users = Table(  # people and robots
    "users",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("password_hash", Text, nullable=False),  # a robot has none
    Column("role", String(16), nullable=False),
    Column("disabled", Boolean, nullable=False, default=False),
    Column("created_at", Time, nullable=False),
)

grants = Table(
    "grants",
    metadata,
    Column("account", String(300), primary_key=True),  # of `users`, or `project:` and the name of a project
    Column("repository", String(255), primary_key=True),  # a pattern
    Column("actions", JSON, nullable=False),
    Column("created_at", Time, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("owner", String(64), nullable=False, default="", index=True),  # of `users`; empty: the token has a role
    Column("role", String(16), nullable=False, default=""),
    Column("limits", JSON),  # [[pattern, [action, …]], …]; null: as far as the owner or the role
    Column("created_at", Time, nullable=False),
    Column("expires_at", Time),
    Column("last_used_at", Time),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("url", Text, nullable=False),
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("actions", JSON, nullable=False),
    Column("repositories", String(255), nullable=False),  # a glob
    Column("format", String(32), nullable=False),
    Column("private", Boolean, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("begins_after", BigInteger, nullable=False),  # the row of `activity` that it does not hear of any more
    Column("seen", BigInteger, nullable=False),  # the row of `activity` up to which all calls are made
)

webhook_calls = Table(
    "webhook_calls",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("webhook_id", ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    Column("activity_id", BigInteger),
    Column("repository", String(255), nullable=False),
    Column("event", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_at", Time, nullable=False),
    Column("error", Text, nullable=False),
    Column("created_at", Time, nullable=False),
    UniqueConstraint("webhook_id", "activity_id"),
    Index("webhook_calls_state", "state", "webhook_id", "repository", "id"),
    sqlite_autoincrement=True,
)
