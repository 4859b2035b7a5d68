"""Preference losses without a reference model, on TRL's DPOTrainer: CPO, SimPO, AlphaPO, ORPO, TPO and RRHF."""
