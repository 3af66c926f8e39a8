"""Measurements of a running cluster. Never part of the tests: machines are noisy."""
