"""The private OCI registry: blobs, manifests, tags. Source of all rules: OCI distribution-spec 1.1.

registry.py   all of it, over the ports of port.py and storage_port.py: storage/ and metadata/; paths.py draws the disk
What it has   blobs.py, manifests.py by manifest_format.py, tags.py, listings.py; reference.py names it
What it lets  access.py, quota.py, errors.py
What goes     retention/ removes tags, gc/ what nothing needs any more
What stays    holds.py: what requests need in this moment; needs.py tells that to other processes
Care          verify.py; names.py from which rebuild.py makes the metadata anew
For people    inspect/ by manifest and configuration, contents/ by the layers, attest/ signatures and provenance
Others        upstream/ is the pull-through cache, remote/ a client, transfer/ copies
Used below    ttl_cache.py, tar.py
"""
