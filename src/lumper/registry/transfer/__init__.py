"""Images from one place to another: from registries and archives into registries.

source      what an image can be copied from
tarfile     the members of a tar file that anyone may have made
archive     OCI layouts and files of `docker save` as sources
copy        one image into a repository
mirror      a whole registry into another one
"""
