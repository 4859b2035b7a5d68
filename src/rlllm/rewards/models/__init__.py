"""Rewards that are trained models: scalar, process, ensembles, classifiers."""
