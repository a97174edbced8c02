"""What `streamproc doctor` looks at.

`*_facts.py` read the servers, and only read; `*_checks.py` judge what was read, and touch nothing; `examination.py`
puts the two together.
"""
