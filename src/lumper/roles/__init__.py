"""The parts that can run as processes of their own, and what each is made of.

All          base.py; patience.py with what fails
Server       server.py answers; duties.py has the rest: relay.py, receiver.py, acceptance.py, triggers.py, bases.py,
             forge.py, teller.py, attester.py, verifier.py, log_keeper.py; leader.py: one of several servers
Worker       worker.py, shipper.py for its logs, spreader.py for other registries
Mailer       mailer.py
Deployer     deployer.py
Elsewhere    remote.py asks the server
"""
