"""Lists the packages: those in their folders, and `configs/` as the package data `videoctx.configs`."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["videoctx*", "data_prep*"]), "videoctx.configs"])
