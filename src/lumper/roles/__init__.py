"""The parts that can run as processes of their own, and what each is made of.

All          base.py; backoff.py with what fails
Server       server.py answers; duties.py has the rest: relay.py, receiver.py, acceptance.py, triggers.py, bases.py,
             forge.py, webhook_sender.py, attester.py, verifier.py, log_keeper.py; leader.py: one of several servers
Worker       worker.py, shipper.py for its logs, replicator.py for other registries
Mailer       mailer.py
Deployer     deployer.py
Elsewhere    remote.py asks the server
"""
