"""``make bench-mission``: what the review of segment storage claims, measured on real servers.

One document for each segment in MongoDB (its Option A) against one measurement for each window (ours): the same
segments, the same questions, the same server. And the hourly job that it designs against our flush.
"""
