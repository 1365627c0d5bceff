"""The command line: one noun a module, imported when it is used.

entry.py, main.py   where it begins, and all commands by name
client.py           the API that most commands ask; interrupt.py lets Ctrl-C end what waits for it
output.py           tables, JSON, errors; progress.py bars; line_file.py what is given in a file
Run                 serve.py, registry.py
Builds              project.py, project_forge.py, project_url.py, build.py (with work_tree.py), verify.py, recipe.py,
                    builds.py, log.py, hooks.py, queue.py, secret.py
Images              images.py, image.py, origin.py, copying.py (from and to locations.py); maintenance.py, retention.py,
                    rules.py, webhooks.py
Services            services.py
Who may do what     tokens.py, users.py, robots.py, grants.py, audit.py
Look around         doctor.py, configuration.py, completion.py, demo/
"""
