"""From a job to an image in the registry: checkout, recipe, plan, engine.

An attempt      run.py has its stages; port.py is what every engine does for it, engines/ are they
Source          source/: a commit's files, whole
Recipe          recipe/: what lumper.toml asks for
Plan (pure)     plan.py, capabilities.py, grants.py, credentials.py, pinning.py
Context (pure)  context/: which files go to the engine
Build           reading.py and syntax.py: by which reader; agents.py for ssh; idle_timeout.py ends it
What went wrong failure/
Push            pushing.py to a target.py, with known_layers.py; replication.py to other registries
Beside builds   upkeep.py
Without server  local.py, local_names.py
"""
