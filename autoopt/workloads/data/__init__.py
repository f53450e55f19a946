"""Cases from files. From a file to a workload's splits:

readers.py    READERS: which function opens a file, by its ending; pictures.py, stacks.py, volumes.py and arrays.py
              have them
image_file.py what such a function returns: the header, and the values when they are needed
manifest.py   the one reader of tables of cases
layouts/      LAYOUTS: how a data folder is laid out, from folder to cases as files
wishes.py     what a user may ask for of a folder that does not say it by itself
reading.py    how a search reads its images, which a bundle keeps for files that come later
cases.py      cases as files, made into splits, and the digest of the data
headers.py, label_maps.py   what all files say together: sizes, channels, labels
dataset.py    all of it for a user's own data folder
"""
