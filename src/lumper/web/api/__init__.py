"""The JSON API under /api/v1: what the command line and other programs use.

docs/reference/api.md lists the routes. Each handler says by `describe` what it takes and answers, and from that comes
the OpenAPI description.

All routes    routes.py; root.py for what is at none of them
Each request  guard.py lets it in; parameters.py, references.py and schemas.py say what it has; answers.py;
              openapi.py tells all that
Builds        builds.py, build_logs.py, verifications.py, secrets.py, queues.py, rollouts.py
Sources       projects.py, deliveries.py
Registry      images.py, tags.py, origin.py, attestations.py, rules.py, maintenance.py (collect, verify, rebuild)
People        accounts.py, me.py, audit.py; webhooks.py for their programs
"""

from lumper.web.api.routes import add_routes

__all__ = ["add_routes"]
