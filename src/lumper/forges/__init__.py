"""Forges: their webhook deliveries, and requests to their APIs.

port.py        what each forge implements
all.py         the list of forges, one line each
adapters/      one file per forge
rules.py       whether a delivery starts builds
delivery.py    checks of ids, refs and names in deliveries; payload.py reads the JSON, signature.py checks HMACs
client.py      sends requests to the APIs; registration.py reads the answers about webhooks
statuses.py    the status of a build, as people see it beside the commit
guide.py       how people set up a webhook by hand
"""
