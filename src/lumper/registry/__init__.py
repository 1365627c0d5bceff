"""The private OCI registry: blobs, manifests, tags. Source of all rules: OCI distribution-spec 1.1.

registry.py   all of it, over the ports of port.py and storage_port.py: storage/ and metadata/, which lies at paths.py
What it has   blobs.py, manifests.py, documents.py, listings.py, tagging.py;
              for people insides.py, changes.py, kinds.py, contents/
What it lets  access.py, quota.py, errors.py
What it keeps judging.py decides and retention.py carries out, by what pulls.py noted
Garbage       gc.py by the time of steady.py, orphans.py; and what is not: holds.py, told.py to other processes
Care          verify.py; names.py from which rebuild.py makes the metadata anew
Used below    recently.py, tar.py
Others        upstream/ is the pull-through cache, remote/ a client, transfer/ copies, attest/ what is told of images
"""
