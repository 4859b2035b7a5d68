"""The `code` reward: tests of programs, run where the program cannot reach them."""
