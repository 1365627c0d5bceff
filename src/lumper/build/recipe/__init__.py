"""What `lumper.toml` says, all its mistakes at once.

Reading         recipe.py, by file.py, values.py, settings.py (what asked.py keeps), image_tags.py, as schema.py tells
Tags of images  tag_templates.py, tag_times.py, tag_checks.py
Nothing at all  skip.py
"""
