"""The registry's HTTP API. Source: OCI distribution-spec 1.1 and its main branch, Docker Registry HTTP API V2."""

from lumper.web.oci.api import add_routes

__all__ = ["add_routes"]
