"""Physics: seeded scenes of ten families with closed forms, their laws, and questions about them. Standard library only."""
