"""What an image is, for people to look at. contents/ reads further: into the layers.

image            what its manifest and configuration say
changes          what changed from one image to another. Pure
artifact_types   what artifacts and referrers are called. Pure
"""
