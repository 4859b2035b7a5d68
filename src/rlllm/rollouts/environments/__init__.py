"""Environments: classes whose public methods are tools that the model may call before it answers."""
