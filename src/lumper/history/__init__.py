"""What was and what is: the database behind builds, images, rollouts and people.

All of it   store.py; tables.py, columns.py, statements.py
Database    database.py on sqlite.py or postgresql.py (with pipelining.py, session_locks.py, cutting.py), by
            connection.py; schema.py, storage_identity.py; query_cache.py; outbox.py to the queue; shared_files.py are
            alike on all servers
Sources     projects.py, refs.py, deliveries.py, triggers.py, schedule.py
Builds      builds.py, dispatch.py, splitting.py; verifications.py, verification_rows.py; origins.py; logs.py or
            log_rows.py, as long as kept_logs.py says
Images      images.py, tagging.py, names.py, renames.py; catalog.py, overview.py, usage.py for people
Their end   rules.py, in_use.py, retention.py; collection.py takes what garbage.py finds by dropping.py; needs.py;
            stored.py, flaws.py
Rollouts    rollouts.py
People      accounts.py, grants.py, tokens.py; activity.py tells who did what, webhooks.py tells others
Secrets     secrets.py, sealed by sealing.py with cipher.py
Figures     figures.py
"""
