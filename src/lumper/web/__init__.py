"""One port for everything: webhooks, API, registry, pages.

app.py          all doors: hooks.py, api.py, oci/, pages/; shortcut.py, by heads.py, stands in front of aiohttp,
                hosts.py says whom a request asks
Connections     tls_connection.py, stalled.py
Who asks        auth.py, tokens.py, backoff.py, limits.py, proxies.py, tls.py, security.py
What comes in   incoming.py, shapes.py; openapi.py tells what may
The API         projects.py, deliveries.py, build_logs.py, verifying.py, queues.py, secrets.py;
                tagging.py, rules.py, care.py, webhooks.py, origin.py, statements.py; people.py, own.py, audit.py,
                seen.py
Logs of builds  log_lines.py, log_search.py, sse.py
Pages           assets.py
For machines    health.py, watch.py (metrics)
"""
