"""One port for everything: webhooks, API, registry, pages and metrics.

app          all of it, made of parts; ports: what roles do for it
api/         JSON under /api/v1, for the command line and programs
oci/         the registry under /v2/
pages/       for people; assets are their files
hooks        webhooks of forges; replayer takes one once more
auth/        who asks, and how often they may
connection/  what stands before aiohttp: TLS, the shortcut, proxies
health, metrics   for machines that watch

Shared by api/ and pages/, which know nothing of each other: small_bodies, cut_off, visibility (who sees which build),
statements (what was told of images), log_lines and log_search, sse.
"""
