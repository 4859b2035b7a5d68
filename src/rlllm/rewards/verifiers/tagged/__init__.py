"""Rewards of reasoning in five tags: right answer, form, agreement of the channels, cues named, gain by a second answer."""
