"""What engines that are programs share.

process.py   a program on its way: who says what, in order; and its end with everything that it started
workshop.py  folders for one build, on disk and in memory
unpack.py    a context on disk
refusals.py  what is not even tried
logins.py    credentials in the file that such programs read
"""
