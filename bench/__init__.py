"""Benchmarks: ratios against a ceiling measured in the same run; never tests, because machines are shared and noisy."""
