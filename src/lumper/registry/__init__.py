"""The private OCI registry: blobs, manifests, tags. Source of all rules: OCI distribution-spec 1.1."""
