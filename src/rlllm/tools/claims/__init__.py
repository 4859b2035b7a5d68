"""Claims: what a run says it found, in one file that is enough to run it again; and their verification."""
