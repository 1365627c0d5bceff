"""The pull-through cache: repositories whose images come from another registry when they are first asked for.

upstreams       which repository is a cache of what. Pure
manifests       manifests and tags: asked for once, kept, asked for again when a tag's time is over
blobs           blobs: fetched once, handed on while they arrive
listings        tags and referrers: upstream's own
arrival         one blob on its way
passing         one that is handed on without being kept
single_flight   one call for all that ask for the same thing at the same time
errors          what another registry's errors are to our clients
"""
