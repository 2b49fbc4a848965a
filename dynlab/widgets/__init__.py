"""Widgets for Jupyter: state in traitlets, computation in plain functions, pictures drawn without pyplot."""
