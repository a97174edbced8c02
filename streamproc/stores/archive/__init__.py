"""The archive: the one package that speaks Parquet, object storage and DuckDB. docs/archive.md says what is stored.

pyarrow, DuckDB and Google's client are an extra (``pip install 'streamproc[archive]'``), loaded when first used.
"""
