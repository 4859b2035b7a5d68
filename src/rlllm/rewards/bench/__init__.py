"""The bench: what a reward is tried on before anything is trained on it, and how it is tried. No model, no data room."""
