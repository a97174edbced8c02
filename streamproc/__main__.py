"""``python -m streamproc``."""

from streamproc.cli.main import main

main()
