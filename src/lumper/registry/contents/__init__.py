"""What is in the layers of an image: packages, and what differs from another one's.

platforms   an index's images with their layers
image       all layers of one: packages.py and rpm.py, laid over each other by layers.py; told as spdx.py
compare     two images, file by file, by trees.py
unpacking   gzip and zstd
"""
