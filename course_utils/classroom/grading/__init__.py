"""Grading: answers out of submissions, hidden checks run in confined kernels, points from what they print."""
