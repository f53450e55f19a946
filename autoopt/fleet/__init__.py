"""Several machines for one study, connected by Dask over TLS.

certificates.py makes the certificates of a fleet, address.py reads one folder of them and says in a sentence why a hub
cannot be reached, hello.py whether that takes us in. hub.py is where all meet (`autoopt fleet serve`), gate.py who may
ask it what, member.py what a builder or target runs, agent.py the one function that is called there. fleet.py is the
driver's side: who is there, whose turn it is, one request and one answer. Dask is a transport here: the driver decides
what is done where, and only JSON and bytes are sent.
"""
