"""The report of a study: one HTML file that needs nothing else, in the order of a decision.

`page.py` puts together the sections that `sections.py` lists. A section is one file with a function that takes a
`Subject` and returns HTML, or nothing where there is nothing to show. `style.css` and `script.js` are copied into it.
"""
