"""Lets older packaging front ends read setup.cfg; everything stands there."""

from setuptools import setup

setup()
