"""The registry's HTTP API. Source: OCI distribution-spec 1.1 and its main branch, Docker Registry HTTP API V2.

api.py        every request finds its handler by its address.py; description.py tells them all
Who may what  door.py, rights.py, token.py; places.py: which repository is meant; refusals.py
Blobs         blobs.py, uploads.py; body.py and intake.py take bytes, outlet.py gives ranges.py of them
Manifests     manifests.py, listings.py
Answers       answers.py, conditions.py, wire.py
Past aiohttp  at_hand.py and small_pushes.py, through the shortcut
"""

from lumper.web.oci.api import add_routes

__all__ = ["add_routes"]
