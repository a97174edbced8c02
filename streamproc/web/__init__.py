"""HTTP: the questions as JSON and CSV, erasure, the dashboard's files, and the pages that every process has."""
