"""Pick a trial of a study, write it as a bundle, load a bundle, predict.

pick.py chooses a trial, nothing_fits.py says why none can be chosen, pull.py writes the chosen one. layout.py is the
layout of a bundle, writer.py writes one, predictor.py loads one and needs numpy and the bundle's runtime only.
self_test.py makes what a bundle tests itself by (goldens.py), check.py compares with it, signing.py knows keys.

From elsewhere: pull_from.py knows where a bundle may come from, registered.py what a registry says of one,
choose_registered.py answers limits from that, mlflow_rest.py and http.py ask a server, zip_source.py reads an archive,
receive.py writes what came, verified.
"""
