"""What people read, rendered from the result of a study.

tables.py, csv_text.py and front_picture.py show the front; explain.py profiles a trial and explains it (layer_pairs.py,
diagnosis.py), explain_text.py and explain_picture.py show that; layer_ranking.py and matrix_text.py show what `autoopt
sensitivity` and `autoopt matrix` found. A new form is a new file that takes a value and returns text or bytes.
"""
