"""The verbs: for each stage a config class and one function that reads like the data flow. Torch-free until a run starts."""
