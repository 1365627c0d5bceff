"""The registry's HTTP API. Source: OCI distribution-spec 1.1 and its main branch, Docker Registry HTTP API V2.

api.py        every request finds its handler by its address.py; description.py tells them all
Who may what  guard.py, rights.py, token.py; namespaces.py: which repository is meant; refusals.py
Blobs         blobs.py, sendfile.py for ranges.py of them; uploads.py, body.py and large_bodies.py for bytes that come
Manifests     manifests.py, listings.py
Answers       answers.py, conditions.py, wire.py
Past aiohttp  shortcut/answers.py and small_pushes.py, through the shortcut
"""

from lumper.web.oci.api import add_routes

__all__ = ["add_routes"]
