"""From a job to an image in the registry: checkout, recipe, plan, engine.

An attempt      run.py has its stages; port.py is what every engine does for it, engines/ are they
Source          checkout.py, into a mirror.py of git.py (its words: git_trouble.py), under a lock.py, as far as reach.py
                lets it; contents.py gives it out: commit_files.py, tarstream.py, packing.py, from objects.py, trees.py;
                whole.py adds submodules.py and lfs.py; lending.py has them here; remotes.py only asks
Recipe          recipe.py reads it by recipe_file.py, recipe_values.py, recipe_asked.py, recipe_tags.py, as
                recipe_schema.py tells; skip.py: not at all; tag_templates.py, tag_times.py, tag_checks.py: image tags
Plan (pure)     plan.py, asked.py, capabilities.py, grants.py, entrusting.py, pinning.py
Context (pure)  dockerfile.py and selection.py: what is copied; dockerignore.py, attributes.py, left_out.py: what is not
Build           reading.py and syntax.py: by which reader; agents.py for ssh; silence.py ends it
What went wrong explain.py, by step_lines.py, text_lines.py, mistakes.py, near.py, variables.py
Push            pushing.py to a target.py, with known_layers.py; spreading.py to other registries
Beside builds   upkeep.py, mirror_keeping.py
Without server  local.py, local_names.py
"""
