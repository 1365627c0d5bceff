"""What is built: a commit out of a mirror, or a folder of this machine.

Into a mirror   checkout.py, into a mirror.py of git.py (its words: git_trouble.py), under a lock.py, as far as
                pinned_address.py lets it; mirror_keeping.py removes old ones; remotes.py only asks
Out of it       contents.py: as files one by one (commit_files.py) or as a tar (tarstream.py, packing.py), from
                objects.py and trees.py; suggestions.py and left_out.py tell of what is not there
Whole           full_source.py adds submodules.py and lfs.py; lending.py has them on this machine
"""
