"""How models learn: the six-slot loop, the preference and reward-model trainers, and the methods that preset them.

Only `_trl.py` imports TRL. Subclasses wrap `super()` and never copy a TRL body; every private hook used has a contract test.
"""
