"""Slot components: small frozen dataclasses with a call. Tensors in, tensors out; none of them knows the trainer."""
