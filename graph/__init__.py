"""The orchestrator: wiring of the nodes, checkpoints, the run of one turn."""
