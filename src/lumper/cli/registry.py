"""`lumper registry`: looking after what the registry keeps."""

from __future__ import annotations

from cyclopts import App

app = App(name="registry", help="The registry's care: what it keeps and gives back.")
