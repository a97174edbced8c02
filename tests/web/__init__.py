"""HTTP, on real servers: processes of `streamproc web` beside a worker, and every answer held against the document."""
