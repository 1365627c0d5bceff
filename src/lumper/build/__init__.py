"""From a job to an image in the registry: checkout, recipe, plan, engine."""
