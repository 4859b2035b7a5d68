"""Engines that hold a copy of the policy: a vLLM server, vLLM in this process, and endpoints of a fixed model.

A copy can be stale. So weights are brought to it by `WeightSync`, which proves after each time that they arrived.
"""
