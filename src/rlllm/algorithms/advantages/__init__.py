"""Slot components: small frozen dataclasses with a call. Tensors in, tensors out; none of them knows the trainer.

What a plan or the loop must know of a advantage is a class attribute, which one from a plugin may have as well:

    needs               fields of the batch that cost a forward pass or a rollout (`values` asks for a critic)
    compares_group      True where completions of one prompt are compared, so that there must be two or more
    ignores_rewards     True where the signal is the policy's own: rewards are watched, and not what the verdict looks at
    ignores_penalty     True where a KL penalty in the reward would be overlooked
    check(names, weights)   refuses rewards it cannot work with

Advantages import torch when they are called, so that a plan can make them without it.
"""
