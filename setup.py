"""Hand everything to setup.cfg."""

from setuptools import setup

setup()
