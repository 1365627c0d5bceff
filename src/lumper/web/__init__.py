"""One port for everything: webhooks, API, registry, pages."""
