"""The command line and the HTTP faces; composes everything else."""
