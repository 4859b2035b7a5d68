"""Files that ship with the package: the embedded model `nano`, and the module that makes its untrained beginning."""
