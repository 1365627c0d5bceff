"""The words of Lumper as plain frozen values, and the rules that need nothing but values.

Source        source.py, refs.py, trigger.py, patterns.py
Builds        build.py, scheduling.py, lease.py, verification.py; secrets.py
Logs          log.py, masking.py, terminal.py, log_search.py, log_keeping.py
Images        image.py, tag_moves.py, globs.py, rules.py, garbage.py, activity.py, webhook.py
What runs     deployment.py
People        people.py, rights.py
Between roles events.py
Places        addresses.py, links.py
"""
