"""What is built: a commit out of a mirror, or a folder of this machine.

Into a mirror   checkout.py, into a mirror.py of git.py (its words: git_trouble.py), under a lock.py, as far as reach.py
                lets it; mirror_keeping.py throws old ones away; remotes.py only asks
Out of it       contents.py: as files one by one (commit_files.py) or as a tar (tarstream.py, packing.py), from
                objects.py and trees.py; near.py and left_out.py tell of what is not there
Whole           whole.py adds submodules.py and lfs.py; lending.py has them on this machine
"""
