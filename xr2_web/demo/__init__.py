"""``xr2-web demo``: each example app under its usual server, two visitors, and whether each event is its visitor's own.

``command`` runs it; ``stage`` starts an example beside a local xR2, ``walk`` leads the visitors through it and
``comparison`` judges what arrived, by what the local xR2 tells and nothing of the library under test.
"""
